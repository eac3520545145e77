#!/bin/sh
# Runs PostgreSQL natively: run-local.sh DATA_DIRECTORY CONFIG_FILE
# The first start makes the data directory. It is made beside its final place and renamed when complete,
# so one that exists is always whole.
set -eu
data=$1 config=$2
with=$(dirname "$0")/with-postgres.sh
if [ ! -e "$data/cluster" ]; then
    umask 077
    rm -rf "$data/new" "$data/password"
    printf '%s' "$POSTGRES_PASSWORD" >"$data/password"
    # shellcheck disable=SC2086  # the arguments are words
    "$with" initdb -D "$data/new" -U postgres --pwfile="$data/password" $POSTGRES_INITDB_ARGS
    rm -f "$data/password"
    mv "$data/new" "$data/cluster"
fi
unset POSTGRES_PASSWORD
exec "$with" postgres -D "$data/cluster" "-cconfig_file=$config"
