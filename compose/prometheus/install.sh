#!/bin/sh
# Unpacks Prometheus, Alertmanager and Pushgateway from Debian's packages: install.sh ENV_DIR
# Afterwards ENV_DIR/bin holds the programs. Exit 1, one line, where it cannot be done.
set -eu
env_dir=$1

"$(dirname "$0")/../../platform_cli/local/debian-packages.sh" "$env_dir" \
    prometheus prometheus-alertmanager prometheus-pushgateway

# Debian's Alertmanager reads its templates from one fixed place below /usr. The new text has the same length and means
# "the directory open as descriptor 9", which run-alertmanager.sh opens.
LC_ALL=C sed -i 's#/usr/share/prometheus/alertmanager#/proc/self/fd/9///////////////////#g' \
    "$env_dir/root/usr/bin/prometheus-alertmanager"
mkdir -p "$env_dir/bin"
for program in prometheus promtool prometheus-alertmanager amtool prometheus-pushgateway; do
    ln -sfn "../root/usr/bin/$program" "$env_dir/bin/${program#prometheus-}"
done
