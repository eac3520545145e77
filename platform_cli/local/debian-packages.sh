#!/bin/sh
# Unpacks Debian's packages: debian-packages.sh ENV_DIR PACKAGE…
# Nothing is installed into the system and no root is needed: apt downloads with lists and a cache of its own. What the
# packages depend on is not fetched. Afterwards ENV_DIR/root holds their files, ENV_DIR/versions what they are.
# Exit 1, one line, where it cannot be done.
set -eu
env_dir=$1
shift

fail() {
    echo "$* cannot be had here: $reason" >&2
    exit 1
}

for tool in apt-get dpkg-deb; do
    reason="they are Debian's packages, and this machine has no $tool"
    command -v "$tool" >/dev/null || fail "$@"
done

work=$(mktemp -d "${TMPDIR:-/tmp}/debian-packages.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial"
: >"$work/status"

own_apt_get() {
    apt-get -q -o "Dir::State=$work" -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" \
        -o "Dir::Cache=$work" -o "Dir::Cache::archives=$work/archives" -o Debug::NoLocking=1 \
        -o APT::Sandbox::User= -o Acquire::Languages=none -o APT::Get::List-Cleanup=0 "$@" >>"$work/log" 2>&1
}

# A source that cannot be reached is a warning to apt, and the first line that says why the packages are not found.
first_complaint() { grep -m1 '^[EW]:' "$work/log" || echo "no reason given"; }

if ! own_apt_get update; then
    reason="apt-get update failed: $(first_complaint)"
    fail "$@"
fi
if ! (cd "$work/archives" && own_apt_get download "$@"); then
    reason="apt-get download failed: $(first_complaint)"
    fail "$@"
fi

mkdir -p "$env_dir/root"
for archive in "$work"/archives/*.deb; do
    reason="$(basename "$archive") cannot be unpacked"
    dpkg-deb -x "$archive" "$env_dir/root" || fail "$@"
    dpkg-deb -W --showformat='${Package}=${Version}\n' "$archive"
done >"$work/versions"
mv "$work/versions" "$env_dir/versions"
