"""A task that runs one step of the loop in its own environment."""

import json
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.bash import BashSensor

ACTOR = "airflow:{{ dag.dag_id }}/{{ run_id }}"
IDENTITY = {"PLATFORM_ACTOR": ACTOR, "PLATFORM_PIPELINE_RUN": ACTOR}
"""Who starts the step, and the pipeline run that it is a part of."""
QUOTED_ACTOR = '{{ ("airflow:" ~ dag.dag_id ~ "/" ~ run_id) | quote }}'
FILTERS: dict[str, Callable[[str], str]] = {"quote": shlex.quote}
"""What the templates of a DAG need besides Jinja's own filters."""


def repo() -> Path:
    """The checkout that holds `projects/` and `dbt_project/`."""
    return Path(os.environ["PLATFORM_REPO"])


def step(name: str, project: str, *options: str, values: Mapping[str, str] | None = None, **task: Any) -> BashOperator:
    """The task `name` that runs `python -m pipelines NAME PROJECT [OPTIONS]`; its last line, JSON, becomes the XCom.

    `values` are templates whose results reach the command as variables, to be used in `options` as `"$NAME"`: a value
    from another task is then never read as shell. `exec` makes the step itself the process that Airflow ends. A step
    that exits with code 99 has found nothing to do: the task is skipped, and so is what follows it.
    """
    return BashOperator(
        task_id=task.pop("task_id", name),
        bash_command=_command(name, project, *options),
        env={**IDENTITY, **(values or {})},
        append_env=True,
        cwd=str(repo()),
        output_processor=json.loads,
        **task,
    )


def watch(step: str, project: str, *options: str, seconds: int, **task: Any) -> BashSensor:
    """The sensor that runs a step every `seconds` until it exits with code 0.

    Any other code means to look again: a service that is away for a while must not leave a release unwatched. Between
    two looks it holds no worker. The variables are set by the command, since a sensor can only replace all of them.
    """
    identity = [f"export {name}={QUOTED_ACTOR}" for name in IDENTITY]
    return BashSensor(
        task_id=task.pop("task_id", "watch"),
        bash_command="\n".join([*identity, f"cd {shlex.quote(str(repo()))}", _command(step, project, *options)]),
        mode="reschedule",
        poke_interval=seconds,
        **task,
    )


def _command(name: str, project: str, *options: str) -> str:
    return " ".join(['exec "$ENVS_DIR/pipelines/bin/python" -m pipelines', name, project, *options])
