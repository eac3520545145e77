"""What a version was trained on: its baseline, and a sample of the rows themselves for the deep report."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from contract import DIGEST_TAG, SNAPSHOT_TAG
from pipelines.data.dataset import features_of, load_snapshot, split_by_time
from pipelines.environment import Environment
from pipelines.models import model_store
from pipelines.models.scoring import predict
from pipelines.monitoring import baseline as baselines
from pipelines.monitoring.baseline import Baseline
from pipelines.progress import say
from pipelines.project import Project
from pipelines.training.metrics import Array


def baseline(env: Environment, client: MlflowClient, project: Project, champion: ModelVersion) -> Baseline:
    """The baseline of a version. One that was trained before baselines were kept gets it now, from its snapshot."""
    run_id = str(champion.run_id)
    found = baselines.find(client, run_id)
    if found is not None:
        return found
    say(f"  version {champion.version} has no baseline yet: made from its snapshot")
    train, test = split_by_time(load_snapshot(env, project, champion.tags[SNAPSHOT_TAG]), project)
    with tempfile.TemporaryDirectory() as scratch:
        baselines.write(Path(scratch), project, train.x, _answers(champion, test.x), test.y)
        client.log_artifacts(run_id, scratch, baselines.ARTIFACTS)
    return baselines.load(client, run_id)


def sample(env: Environment, project: Project, champion: ModelVersion, train_to: str, answer: str) -> pd.DataFrame:
    """Some of the rows up to `train_to`, which the version was fitted on: the features, and its answers as `answer`."""
    rows = load_snapshot(env, project, champion.tags[SNAPSHOT_TAG]).rows
    rows = rows[rows[project.data.event_time] <= pd.Timestamp(train_to)]
    some = rows.sample(min(len(rows), project.monitoring.reference_rows), random_state=project.training.seed)
    x = features_of(some, project)
    return x.assign(**{answer: _answers(champion, x)})


def _answers(champion: ModelVersion, x: pd.DataFrame) -> Array:
    where = f"{champion.name} version {champion.version}"
    with tempfile.TemporaryDirectory() as scratch:
        directory = model_store.download(f"models:/{champion.name}/{champion.version}", Path(scratch))
        model = model_store.load(directory, champion.tags.get(DIGEST_TAG, ""), where)
    return predict(model, x, where)
