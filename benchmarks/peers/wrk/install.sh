#!/bin/sh
# Unpacks the load generator wrk from Debian's packages: install.sh ENV_DIR. Afterwards ENV_DIR/bin/wrk runs it.
set -eu
env_dir=$1

"$(dirname "$0")/../../../platform_cli/local/debian-packages.sh" "$env_dir" wrk libluajit-5.1-2

mkdir -p "$env_dir/bin"
cat >"$env_dir/bin/wrk" <<'EOF'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/../root/usr
for libraries in "$root"/lib/*-linux-gnu*; do LD_LIBRARY_PATH=$libraries; done
export LD_LIBRARY_PATH
exec "$root/bin/wrk" "$@"
EOF
chmod +x "$env_dir/bin/wrk"
