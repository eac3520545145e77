#!/usr/bin/env bash
# Starts PostgreSQL by the contract of the upstream image. The first start makes the data directory: POSTGRES_PASSWORD,
# POSTGRES_USER, POSTGRES_DB and POSTGRES_INITDB_ARGS (each also as …_FILE), POSTGRES_INITDB_WALDIR,
# POSTGRES_HOST_AUTH_METHOD; then the files of /docker-entrypoint-initdb.d are run against a server that only this
# container reaches, by its socket in /var/run/postgresql. Other commands than `postgres` are run as they are.
set -Eeuo pipefail

socket_directory=/var/run/postgresql

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# from_file NAME DEFAULT: NAME gets its own value, or that of the file which NAME_FILE names, or the default.
from_file() {
  local name=$1 file=${1}_FILE
  [[ -z ${!name:-} || -z ${!file:-} ]] || fail "$name and $file are both set, and only one may be"
  if [[ -n ${!file:-} ]]; then
    export "$name=$(<"${!file}")"
  else
    export "$name=${!name:-$2}"
  fi
  unset "$file"
}

make_directories() {
  mkdir -p "$PGDATA" "${POSTGRES_INITDB_WALDIR:-$PGDATA}"
  chmod 0700 "$PGDATA" || true
  mkdir -p "$socket_directory" || true
  if [[ $EUID -eq 0 ]]; then
    chown postgres "$socket_directory"
    chown -R postgres "$PGDATA" "${POSTGRES_INITDB_WALDIR:-$PGDATA}"
  fi
}

make_cluster() {
  local words=()
  # they are written as on a command line, quotes and all
  eval "words=($POSTGRES_INITDB_ARGS)"
  [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || words+=(--waldir "$POSTGRES_INITDB_WALDIR")
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${words[@]}"
  # the programs were built for another place
  printf "\nunix_socket_directories = '%s'\n" "$socket_directory" >>"$PGDATA/postgresql.conf"
}

# Whoever comes from elsewhere shows the password, unless trust was asked for.
let_others_in() {
  local method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "${@:2}")}
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

query() {
  psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --host "$socket_directory" --username "$POSTGRES_USER" "$@"
}

make_database() {
  local found
  found=$(query --dbname postgres -tA --set db="$POSTGRES_DB" <<<"SELECT 1 FROM pg_database WHERE datname = :'db'")
  [[ -n $found ]] || query --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db"'
}

run_files() {
  local file
  for file in "$@"; do
    echo "$0: running $file"
    # shellcheck disable=SC1090  # it is the user's
    case $file in
      *.sh) if [[ -x $file ]]; then "$file"; else . "$file"; fi ;;
      *.sql) query --dbname "$POSTGRES_DB" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | query --dbname "$POSTGRES_DB" ;;
      *.sql.xz) xzcat "$file" | query --dbname "$POSTGRES_DB" ;;
      *.sql.zst) zstd -dc "$file" | query --dbname "$POSTGRES_DB" ;;
      *) echo "$0: ignoring $file" ;;
    esac
  done
}

first_start() {
  from_file POSTGRES_PASSWORD ''
  from_file POSTGRES_USER postgres
  from_file POSTGRES_DB "$POSTGRES_USER"
  from_file POSTGRES_INITDB_ARGS ''
  [[ -n $POSTGRES_PASSWORD || ${POSTGRES_HOST_AUTH_METHOD:-} == trust ]] ||
    fail "POSTGRES_PASSWORD is empty: give it, or POSTGRES_PASSWORD_FILE"
  make_cluster
  let_others_in "$@"
  export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
  local words
  words=$(printf '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}")
  pg_ctl -D "$PGDATA" -w -o "$words" start
  make_database
  shopt -s nullglob
  run_files /docker-entrypoint-initdb.d/*
  pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  echo "PostgreSQL is set up and ready to start."
}

[[ ${1:-} != -* ]] || set -- postgres "$@"
if [[ ${1:-} == postgres ]] && [[ ! " $* " =~ \ (-\?|--help|--describe-config|-V|--version)\  ]]; then
  make_directories
  if [[ $EUID -eq 0 ]]; then
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
  fi
  if [[ ! -s $PGDATA/PG_VERSION ]]; then
    first_start "$@"
  fi
fi
exec "$@"
