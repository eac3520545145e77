#!/bin/sh
# Becomes PROGRAM: with-secrets.sh PROGRAM [ARGUMENT…]
# A container's secret variables stand in a file, which whoever may look at the container's definition does not see.
if [ -r /run/secrets/environment ]; then
    set -a
    . /run/secrets/environment
    set +a
fi
exec "$@"
