"""The trials of a search as MLflow runs below the training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from pipelines import tracking
from pipelines.environment import Environment
from pipelines.project import Project

TRIAL_STEP = "trial"


@dataclass(frozen=True)
class TrainingRun:
    """Where a training is logged: its run, and the experiment of that."""

    client: MlflowClient
    env: Environment
    experiment: str
    run_id: str


def log(run: TrainingRun, project: Project, trial: dict[str, Any]) -> None:
    """Log one `search.Trial` (as a dict) as a child of the training run; it failed if the trial did."""
    client = run.client
    tags = {
        MLFLOW_PARENT_RUN_ID: run.run_id,
        tracking.PROJECT_TAG: project.name,
        tracking.STEP_TAG: TRIAL_STEP,
        tracking.ACTOR_TAG: run.env.actor,
        "mlflow.user": run.env.actor,
    }
    name = f"trial {trial['number']}"
    child = client.create_run(run.experiment, start_time=trial["started"], tags=tags, run_name=name).info.run_id
    metrics, extra, status = [], [], RunStatus.FINISHED
    if trial["error"] is None:
        metrics = [Metric(f"validation_{project.evaluation.metric}", trial["value"], trial["ended"], 0)]
    else:
        extra, status = [RunTag(tracking.ERROR_TAG, trial["error"][:500])], RunStatus.FAILED
    parameters = [Param(key, str(value)) for key, value in trial["parameters"].items()]
    client.log_batch(child, metrics=metrics, params=parameters, tags=extra)
    client.set_terminated(child, RunStatus.to_string(status), trial["ended"])


def table(trials: list[dict[str, Any]]) -> pd.DataFrame:
    """One row a trial: `number`, each parameter, `value`, `error`, `seconds`."""
    return pd.DataFrame(
        [
            {
                "number": trial["number"],
                **trial["parameters"],
                "value": trial["value"],
                "error": trial["error"],
                "seconds": (trial["ended"] - trial["started"]) / 1000,
            }
            for trial in trials
        ]
    )
