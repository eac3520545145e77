#!/bin/sh
# Writes Debian's file system to a tar archive, for the engine to import: rootfs.sh TAG ARCHIVE
# TAG is bookworm-slim or the like. Needs mmdebstrap, and root or user namespaces. Manuals, translations and the rest of
# the documentation are left out, here and of what is installed later.
set -eu
suite=${1%-slim} archive=$2
hooks=/usr/share/mmdebstrap/hooks/merged-usr
[ -d "$hooks" ] || {
    echo "mmdebstrap is needed to make a Debian image: apt-get install mmdebstrap" >&2
    exit 1
}
# The hook keeps out usrmerge, which brings all of Perl.
exec mmdebstrap --quiet --variant=apt --hook-dir="$hooks" \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='Dir::Cache::pkgcache ""' \
    --aptopt='Dir::Cache::srcpkgcache ""' \
    --aptopt='DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$archive"
