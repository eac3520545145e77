#!/bin/sh
# Runs in the workspace at every start, as its user. Only the home lasts, so everything that shall last is put there.
set -eu

settings=$HOME/.config/platform
logs=$HOME/.local/state/platform

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

workspace-home

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
  At hand: MLflow, the warehouse and the model server. Their addresses and your own credentials are in the environment
  (env | sort), so `import mlflow` just works.
  JupyterLab or VS Code does not open?  ~/.local/state/platform/*.log

EOF

# -- the apps: Coder's proxy asks who it is, and nothing else reaches these ports ------------------------------------
export BEHIND_PROXY=yes
nohup workspace-jupyter >"$logs/jupyter.log" 2>&1 </dev/null &
nohup workspace-vscode >"$logs/code-server.log" 2>&1 </dev/null &
