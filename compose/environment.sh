#!/bin/sh
# Makes an environment of an image from its lock, in a stage of its own: environment.sh NAME
# /opt/locks/NAME.txt becomes /opt/envs/NAME, without the libraries' own tests and what only compilers read.
set -eu
env=/opt/envs/$1
uv venv --quiet --python python3 "$env"
# Nothing in an image changes: the compiled modules hold whatever time the source has.
PYC_INVALIDATION_MODE=UNCHECKED_HASH uv pip install --compile-bytecode --require-hashes --link-mode=copy --python "$env/bin/python" -r "/opt/locks/$1.txt"
# A directory of this name may also hold what is used, such as dbt's own data tests.
find "$env/lib" -type f -name 'test_*.py' -path '*/tests/*' | sed 's#/tests/.*#/tests#' | sort -u | xargs -r -d '\n' rm -rf
find "$env/lib" \( -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.pyx' -o -name '*.pxd' \) -delete
