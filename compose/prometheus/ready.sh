#!/bin/sh
# Exit 0 if Prometheus, Alertmanager or Pushgateway is ready: ready.sh USER HOST:PORT, with READY_PASSWORD.
exec wget -q -O /dev/null "http://$1:$READY_PASSWORD@$2/-/ready"
