#!/bin/sh
# Unpacks Prometheus, Alertmanager and Pushgateway from Debian's packages: install.sh ENV_DIR
# Nothing is installed into the system and no root is needed: apt downloads with lists and a cache of its own.
# Afterwards ENV_DIR/bin holds the programs, ENV_DIR/versions what they are. Exit 1, one line, where it cannot be done.
set -eu
env_dir=$1
packages="prometheus prometheus-alertmanager prometheus-pushgateway"

fail() {
    echo "Prometheus cannot be installed here: $1" >&2
    exit 1
}

for tool in apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || fail "it comes from Debian's packages, and this machine has no $tool"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/prometheus-packages.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial"
: >"$work/status"

own_apt_get() {
    apt-get -q -o "Dir::State=$work" -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" \
        -o "Dir::Cache=$work" -o "Dir::Cache::archives=$work/archives" -o Debug::NoLocking=1 \
        -o APT::Sandbox::User= -o Acquire::Languages=none -o APT::Get::List-Cleanup=0 "$@" >>"$work/log" 2>&1
}

# A source that cannot be reached is a warning to apt, and the first line that says why the packages are not found.
reason() { grep -m1 '^[EW]:' "$work/log" || echo "no reason given"; }

own_apt_get update || fail "apt-get update failed: $(reason)"
# shellcheck disable=SC2086  # the packages are words
(cd "$work/archives" && own_apt_get download $packages) ||
    fail "apt-get download failed: $(reason)"

mkdir -p "$env_dir/root" "$env_dir/bin"
for archive in "$work"/archives/*.deb; do
    dpkg-deb -x "$archive" "$env_dir/root" || fail "$(basename "$archive") cannot be unpacked"
    dpkg-deb -W --showformat='${Package}=${Version}\n' "$archive"
done >"$work/versions"
# Debian's Alertmanager reads its templates from one fixed place below /usr. The new text has the same length and means
# "the directory open as descriptor 9", which run-alertmanager.sh opens.
LC_ALL=C sed -i 's#/usr/share/prometheus/alertmanager#/proc/self/fd/9///////////////////#g' \
    "$env_dir/root/usr/bin/prometheus-alertmanager"
for program in prometheus promtool prometheus-alertmanager amtool prometheus-pushgateway; do
    ln -sfn "../root/usr/bin/$program" "$env_dir/bin/${program#prometheus-}"
done
mv "$work/versions" "$env_dir/versions"
