#!/bin/sh
# Puts the template's providers where Coder takes them from, so that a workspace is built without the internet. What is
# there and fits the template is left alone: also what was filled in elsewhere, for a machine without internet.
# providers.sh TEMPLATE MIRROR
set -eu
template=$1 mirror=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cat >"$scratch/terraform.rc" <<EOF
provider_installation {
  filesystem_mirror {
    path = "$mirror"
  }
}
EOF
mkdir "$scratch/template"
cp "$template"/*.tf "$scratch/template"
if [ -d "$mirror" ] &&
    TF_CLI_CONFIG_FILE=$scratch/terraform.rc terraform -chdir="$scratch/template" init -backend=false -input=false \
        >/dev/null 2>&1; then
    echo "the providers are there"
    exit 0
fi

echo "fetching the providers"
rm -rf "$mirror.new"
terraform -chdir="$scratch/template" providers mirror "$mirror.new" || {
    echo "error: the template's providers could not be fetched: is registry.terraform.io reachable?" >&2
    echo "  do:    fill $mirror on a machine with internet, by the same command" >&2
    exit 1
}
rm -rf "$mirror"
mv "$mirror.new" "$mirror"
