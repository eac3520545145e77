#!/bin/sh
# Exit 0 if what asks for a name and a password answers: ready.sh USER HOST:PORT/PATH, with READY_PASSWORD.
exec wget -q -O /dev/null "http://$1:$READY_PASSWORD@$2"
