#!/bin/sh
# Writes dbt's manifest, from which the DAGs take their model tasks, to STEP_STATE_DIR/dbt/manifest.json.
set -eu
target=$STEP_STATE_DIR/dbt-parse
"$ENVS_DIR/pipelines/bin/dbt" parse --project-dir "$PLATFORM_REPO/dbt_project" --profiles-dir "$PLATFORM_REPO/dbt_project" \
    --target-path "$target" --log-path "$target/logs"
mkdir -p "$STEP_STATE_DIR/dbt"
cp "$target/manifest.json" "$STEP_STATE_DIR/dbt/manifest.json.new"
mv "$STEP_STATE_DIR/dbt/manifest.json.new" "$STEP_STATE_DIR/dbt/manifest.json"
