#!/bin/sh
# Unpacks the exporters from Debian's packages: install.sh ENV_DIR
# Afterwards ENV_DIR/bin holds the programs under their upstream names. Exit 1, one line, where it cannot be done.
set -eu
env_dir=$1

"$(dirname "$0")/../../platform_cli/local/debian-packages.sh" "$env_dir" \
    prometheus-node-exporter prometheus-postgres-exporter

mkdir -p "$env_dir/bin"
ln -sfn ../root/usr/bin/prometheus-node-exporter "$env_dir/bin/node_exporter"
ln -sfn ../root/usr/bin/prometheus-postgres-exporter "$env_dir/bin/postgres_exporter"
