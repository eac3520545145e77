#!/usr/bin/env bash
# Checks the types of each package against the libraries of its own environment.
set -euo pipefail
cd "$(dirname "$0")/.."

envs=$(.venv/bin/python -c 'from platform_cli.home import find_home; print(find_home().envs)')

check() { # PYTHON PATH…
  local python=$1
  shift
  echo "types: $*"
  .venv/bin/mypy --python-executable "$python" "$@"
}

check .venv/bin/python platform_cli tools benchmarks
check "$envs/pipelines/bin/python" pipelines contract projects
check "$envs/serving/bin/python" serving
check "$envs/airflow/bin/python" dags
