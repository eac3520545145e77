#!/bin/sh
# Runs in the workspace at every start, as its user. Only the home lasts, so everything that shall last is put there.
set -eu

settings=$HOME/.config/platform
logs=$HOME/.local/state/platform
own_python=$HOME/.venv

if ! [ -w "$HOME" ]; then
    echo "error: $HOME cannot be written by $(id -un). The image must have this directory, owned by its user." >&2
    exit 1
fi
mkdir -p "$settings" "$logs"
chmod 700 "$settings"

# -- credentials: a JSON object of variables, given now or at an earlier start ---------------------------------------
keep_credentials() (
    umask 077
    python3 - >"$settings/credentials.sh.new" <<'PYTHON' && mv "$settings/credentials.sh.new" "$settings/credentials.sh"
import json, os, re, shlex

for name, value in json.loads(os.environ["PLATFORM_CREDENTIALS"]).items():
    if re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
        print(f"export {name}={shlex.quote(str(value))}")
PYTHON
)
case ${PLATFORM_CREDENTIALS:-} in
    "" | "{}") ;;
    *) keep_credentials 2>/dev/null || echo "error: the credentials are no JSON object; those of an earlier start stay" >&2 ;;
esac
unset PLATFORM_CREDENTIALS

cat >"$settings/environment.sh" <<EOF
# Made at every start: what shells, notebooks and VS Code know of the platform.
unset PLATFORM_CREDENTIALS
export PATH="$own_python/bin:\$HOME/.local/bin:\$PATH" VIRTUAL_ENV="$own_python"
[ ! -r "$settings/credentials.sh" ] || . "$settings/credentials.sh"
EOF
for file in "$HOME/.profile" "$HOME/.bashrc"; do
    line=". \"$settings/environment.sh\""
    grep -qxF "$line" "$file" 2>/dev/null || printf '\n%s\n' "$line" >>"$file"
done

# -- Python: the image's packages are seen, what is installed goes to the home and lasts -----------------------------
if ! "$own_python/bin/python" -c '' 2>/dev/null; then
    rm -rf "$own_python"
    python3 -m venv "$own_python"
fi
image_packages=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$image_packages" >"$("$own_python/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/image.pth"
kernel=$HOME/.local/share/jupyter/kernels/python3
mkdir -p "$kernel"
cat >"$kernel/kernel.json" <<EOF
{"argv": ["$own_python/bin/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python 3",
 "language": "python"}
EOF

# -- the person's own: a failure here is told, and stops nothing -----------------------------------------------------
if [ -n "${DOTFILES_REPOSITORY:-}" ]; then
    coder dotfiles --yes -- "$DOTFILES_REPOSITORY" || echo "error: the dotfiles could not be applied" >&2
fi
if [ -n "${GIT_REPOSITORY:-}" ]; then
    directory=$HOME/$(basename "$GIT_REPOSITORY" .git)
    [ -e "$directory" ] || git clone -- "$GIT_REPOSITORY" "$directory" ||
        echo "error: the repository could not be cloned" >&2
fi

cat >"$settings/motd" <<'EOF'

  Only your home lasts. Everything outside of it is new at each start.
    pip install …     goes to ~/.venv, which lasts; so do other environments that you make below your home
    apt install …     does not last: ask for it in the image
  At hand: MLflow, the warehouse, the object store and the model server. Their addresses and your keys are in the
  environment (env | sort), so `import mlflow` just works.
  JupyterLab or VS Code does not open?  ~/.local/state/platform/*.log

EOF

# -- the apps: Coder's proxy asks who it is, and nothing else reaches these ports ------------------------------------
. "$settings/environment.sh"
export JUPYTER_PREFER_ENV_PATH=0
nohup jupyter lab --no-browser --ServerApp.ip=127.0.0.1 --ServerApp.port=8888 --ServerApp.port_retries=0 \
    --ServerApp.base_url="${JUPYTER_PREFIX:-}/" --ServerApp.root_dir="$HOME" --ServerApp.allow_remote_access=True \
    --IdentityProvider.token= --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
    >"$logs/jupyter.log" 2>&1 </dev/null &
nohup code-server --bind-addr 127.0.0.1:13337 --auth none --disable-telemetry --disable-update-check \
    --disable-workspace-trust >"$logs/code-server.log" 2>&1 </dev/null &
