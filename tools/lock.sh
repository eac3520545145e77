#!/usr/bin/env bash
# Resolves each component alone and writes its lock: exact versions, hashes, no index address. Needs .venv.
# lock.sh [GROUP…]: only these; without any: all.
set -euo pipefail
cd "$(dirname "$0")/.."

compile() { .venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header "$@"; }

components=("$@")
[[ $# -gt 0 ]] || components=(postgres seaweedfs mlflow airflow pipelines airbyte source-s3 serving notebooks workspace code-server spark caddy haproxy cli browser clients coder peers)
for group in "${components[@]}"; do
  echo "locking $group"
  case $group in
    cli)
      compile pyproject.toml -o platform_cli/requirements.txt
      compile --group pytest -o tests/pytest.txt
      compile pyproject.toml --group dev -c platform_cli/requirements.txt -c tests/pytest.txt -o tests/requirements.txt
      ;;
    # environments that only tests have
    clients | coder) compile --group "$group" -c tests/pytest.txt -o "tests/$group.txt" ;;
    # laid over the steps' environment
    browser) compile --group browser -c compose/pipelines/requirements.txt -c tests/pytest.txt -o tests/browser.txt ;;
    # what upstream's images are made of where no registry is
    caddy | haproxy) compile --group "$group" -o "images/$group/requirements.txt" ;;
    # the servers that the benchmark puts beside the model server
    peers)
      for input in benchmarks/peers/*/requirements.in; do compile "$input" -o "${input%.in}.txt"; done
      ;;
    # what serves must read what was trained: the same scikit-learn, pandas and numpy
    serving) compile --group serving -c compose/pipelines/requirements.txt -o compose/serving/requirements.txt ;;
    # what reads a model must have the versions that it was trained with
    notebooks | workspace | spark)
      mkdir -p "compose/$group"
      compile --group "$group" -c compose/pipelines/requirements.txt -o "compose/$group/requirements.txt"
      ;;
    *) compile --group "$group" -o "compose/$group/requirements.txt" ;;
  esac
done
