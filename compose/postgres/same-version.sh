#!/bin/sh
# Starts PostgreSQL unless its volume holds the data of another major version: same-version.sh PROGRAM [ARGUMENT…]
# Each major version has a directory of its own in the volume, so that another one would begin with an empty database.
set -eu
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    for other in "${PGDATA%/*/*}"/*/docker/PG_VERSION; do
        if [ -e "$other" ]; then
            echo "error: the volume holds the data of PostgreSQL $(cat "$other"), and this is PostgreSQL $PG_MAJOR" >&2
            echo "  do:    start what made it, dump it (pg_dumpall), and restore that into an empty volume" >&2
            exit 1
        fi
    done
fi
exec "$@"
