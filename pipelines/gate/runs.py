"""The MLflow run of a step that works on a training run: a child of the pipeline run, beside the training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow import MlflowClient
from mlflow.entities import Run

from pipelines import tracking
from pipelines.environment import Environment
from pipelines.project import Project


@contextmanager
def step_run(client: MlflowClient, env: Environment, project: Project, step: str, training: Run) -> Iterator[str]:
    """Make the run of `step` for the length of the block, with the training run it is about; yields its id."""
    parent = tracking.pipeline_run(client, env, project)
    tags = {
        tracking.PROJECT_TAG: project.name,
        tracking.STEP_TAG: step,
        tracking.ACTOR_TAG: env.actor,
        tracking.COMMIT_TAG: env.commit,
        tracking.TRAINING_TAG: training.info.run_id,
        "mlflow.user": env.actor,
    }
    name = f"{step} {str(training.info.run_name).removeprefix('train ')}"
    with tracking.open_run(client, training.info.experiment_id, name, tags, parent) as run_id:
        yield run_id
