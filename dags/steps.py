"""A task that runs one step of the loop in its own environment."""

import json
import os
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator

ACTOR = "airflow:{{ dag.dag_id }}/{{ run_id }}"


def repo() -> Path:
    """The checkout that holds `projects/` and `dbt_project/`."""
    return Path(os.environ["PLATFORM_REPO"])


def step(name: str, project: str, *options: str, values: dict[str, str] | None = None, **task: Any) -> BashOperator:
    """The task `name` that runs `python -m pipelines NAME PROJECT [OPTIONS]`; its last line, JSON, becomes the XCom.

    `values` are templates whose results reach the command as variables, to be used in `options` as `"$NAME"`: a value
    from another task is then never read as shell. `exec` makes the step itself the process that Airflow ends.
    """
    command = " ".join(['exec "$ENVS_DIR/pipelines/bin/python" -m pipelines', name, project, *options])
    return BashOperator(
        task_id=task.pop("task_id", name),
        bash_command=command,
        env={"PLATFORM_ACTOR": ACTOR, **(values or {})},
        append_env=True,
        cwd=str(repo()),
        output_processor=json.loads,
        **task,
    )
