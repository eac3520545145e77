#!/usr/bin/env bash
# Makes .venv with the `platform` command, from the system's Python and the lock beside the command. Does nothing when
# that is done already. With --dev: also the tools of tests and lint.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'error: %s\n  do:    %s\n' "$1" "$2" >&2; exit 1; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# The system's interpreter before one in somebody's home: services of other users must be able to run it.
find_python() {
  local candidate
  for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    if new_enough "$candidate"; then command -v "$candidate"; return; fi
  done
  return 1
}

# Debian ships venv in a package of its own.
install_venv_package() {
  local sudo=()
  [[ $EUID -eq 0 ]] || sudo=(sudo -n)
  command -v apt-get >/dev/null || return 1
  echo "Installing Debian's python3-venv …"
  "${sudo[@]}" apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq python3-venv >/dev/null
}

make_venv() {
  local python
  python=$(find_python) || fail "Python 3.11 or newer is needed, and none was found" "install it (Debian 12: apt-get install python3 python3-venv)"
  rm -rf .venv
  "$python" -m venv .venv >/dev/null 2>&1 && return
  install_venv_package >/dev/null 2>&1 || true
  rm -rf .venv
  "$python" -m venv .venv >/dev/null 2>&1 || fail "$python cannot make a virtual environment" "as root: apt-get install python3-venv"
}

# The command runs from the checkout; a lock's packages are all that is installed.
write_command() {
  local site
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  pwd > "$site/checkout.pth"
  printf '#!%s\nfrom platform_cli.main import main\n\nmain()\n' "$PWD/.venv/bin/python" > .venv/bin/platform
  chmod +x .venv/bin/platform
}

lock=platform_cli/requirements.txt
[[ ${1:-} == --dev ]] && lock=tests/requirements.txt
want="$PWD $(cat "$lock" | sha256sum)"
for stamp in .venv/.stamp .venv/.stamp-dev; do
  [[ -x .venv/bin/python && -f $stamp && $(<"$stamp") == "$want" ]] && .venv/bin/python -c 'import typer' 2>/dev/null && exit 0
done

echo "Making .venv (the platform command${1:+ and the tools of tests}) …"
[[ -x .venv/bin/python && -f .venv/.stamp && $(<.venv/.stamp) == "$PWD "* ]] && .venv/bin/python -c '' 2>/dev/null || make_venv
unset PYTHONDONTWRITEBYTECODE
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock" ||
  fail "the packages of $lock could not be installed" "read the lines above; is a package index reachable?"
write_command
if [[ ${1:-} == --dev ]]; then echo "$want" > .venv/.stamp-dev; else echo "$want" > .venv/.stamp; fi
