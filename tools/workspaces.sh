#!/usr/bin/env bash
# Sees to it that there is what the tests of workspaces need of the system: Chromium, which they drive, and a compiler, by
# which VS Code is installed. Installs Debian's where that is possible, else says what to do; the rest works without.
set -euo pipefail

missing=()
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v g++ >/dev/null || missing+=(g++)
command -v make >/dev/null || missing+=(make)
[[ ${#missing[@]} -eq 0 ]] && exit 0

install_missing() {
  local sudo=()
  [[ $EUID -eq 0 ]] || sudo=(sudo -n)
  command -v apt-get >/dev/null || return 1
  echo "Installing Debian's ${missing[*]} …"
  "${sudo[@]}" apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq "${missing[@]}" >/dev/null
}

install_missing 2>/dev/null ||
  echo "Some tests of workspaces are skipped, which need more of the system: apt-get install ${missing[*]}" >&2
