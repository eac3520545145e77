"""Step `train`: fit a candidate on a snapshot and log to MLflow all that is needed to judge and to repeat it.

The project's own code runs in a process of its own (`worker`), within the limits that the declaration sets.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import skops.io
from mlflow.data.pandas_dataset import from_pandas

from contract import DIGEST_TAG, ENTITY_KEY_TAG, SNAPSHOT_TAG, artifact_digest
from pipelines import tracking
from pipelines.data import snapshot as snapshot_step
from pipelines.data.dataset import Snapshot, Window, load_snapshot, split_by_time
from pipelines.environment import Environment
from pipelines.models import model_store
from pipelines.monitoring import baseline
from pipelines.progress import say, stage
from pipelines.project import Project, Value
from pipelines.training import metrics, report, trials
from pipelines.training.limits import Worker
from pipelines.training.worker import ANSWERS_FILE, IMPORTANCE_FILE, MODEL_FILE, ROWS_FILE, Job, Outcome

DIGEST_CHARACTERS = 32  # MLflow takes 36 for a dataset


@dataclass(frozen=True)
class Material:
    """What a training is made of."""

    project: Project
    data: Snapshot
    train: Window
    test: Window


@dataclass(frozen=True)
class Trained:
    """A fitted model, what it was fitted with, and its answers for the test window."""

    model: Any
    test_answer: metrics.Array
    figures: dict[str, float]
    parameters: dict[str, Value]
    importance: pd.DataFrame
    trials: pd.DataFrame


def run(env: Environment, project: Project, snapshot: str | None = None, reuse: bool = False) -> dict[str, Any]:
    """Train on the snapshot at the address `snapshot` (made now if none is given). With `reuse`, a finished run on the
    same snapshot by the same commit is taken instead: training is repeatable, so it would only be made again.

    Returns `run_id`, `snapshot` (its address), `metrics` (``train_…``, ``test_…``, ``rows_…``) and `reused`.
    """
    uri = snapshot or str(snapshot_step.run(env, project)["uri"])
    client = tracking.connect(env)
    if reuse:
        with tracking.mlflow_errors(env):
            known = tracking.same_training(client, project, uri, env.commit)
        if known is not None:
            say(f"  nothing is new: run {known.info.run_id} was trained on this snapshot by this commit")
            return {"run_id": known.info.run_id, "snapshot": uri, "metrics": known.data.metrics, "reused": True}
    with Worker(project.training.resources, f"projects/{project.name}") as worker:
        with stage("read the snapshot"):
            data = load_snapshot(env, project, uri)
            material = Material(project, data, *split_by_time(data, project))
        with tracking.mlflow_errors(env):
            parent = tracking.pipeline_run(client, env, project)
            experiment = tracking.experiment_id(client, project.name)
            name = f"train {data.rows[project.data.event_time].max():%Y-%m-%d} {data.digest[:8]}"
            with (
                tracking.open_run(client, experiment, name, _tags(env, project, data), parent) as run_id,
                tempfile.TemporaryDirectory() as scratch,
            ):
                logged = trials.TrainingRun(client, env, experiment, run_id)
                trained = _train(worker, logged, material, Path(scratch))
                _log(run_id, material, trained, Path(scratch))
    say(f"  run {run_id}: {project.evaluation.metric} {trained.figures[f'test_{project.evaluation.metric}']:.4f}")
    return {"run_id": run_id, "snapshot": uri, "metrics": trained.figures, "reused": False}


def _tags(env: Environment, project: Project, data: Snapshot) -> dict[str, str]:
    return {
        tracking.PROJECT_TAG: project.name,
        tracking.STEP_TAG: "train",
        tracking.ACTOR_TAG: env.actor,
        tracking.COMMIT_TAG: env.commit,
        tracking.SOURCE_TAG: project.source_digest,
        SNAPSHOT_TAG: data.uri,
        ENTITY_KEY_TAG: project.data.entity_key,
        "mlflow.source.git.commit": env.commit.removesuffix("-dirty"),
        "mlflow.source.name": f"python -m pipelines train {project.name} --snapshot {data.uri}",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": env.actor,
        "mlflow.note.content": project.description,
    }


def _train(worker: Worker, run: trials.TrainingRun, material: Material, scratch: Path) -> Trained:
    """Let `worker` train; what it made, and its figures on both windows."""
    project = material.project
    material.data.rows.to_parquet(scratch / ROWS_FILE)
    job = Job(project=project, directory=scratch, uri=material.data.uri)
    outcome, told = Outcome(parameters={}), []
    for message in worker.work(job.model_dump(mode="json")):
        if "trial" in message:
            trials.log(run, project, message["trial"])
            told.append(message["trial"])
        else:
            outcome = Outcome.model_validate(message["done"])
    answers = np.load(scratch / ANSWERS_FILE)
    figures: dict[str, float] = {"rows_train": len(material.train.y), "rows_test": len(material.test.y)}
    figures |= outcome.search
    for name, window in (("train", material.train), ("test", material.test)):
        known = metrics.figures(project.task, window.y, answers[name])
        figures |= {f"{name}_{key}": value for key, value in known.items()}
        figures[f"{name}_target_mean"] = float(window.y.mean())
    return Trained(
        model=skops.io.load(scratch / MODEL_FILE, trusted=model_store.trusted_types(scratch / MODEL_FILE)),
        test_answer=answers["test"],
        figures=figures,
        parameters=outcome.parameters,
        importance=pd.read_csv(scratch / IMPORTANCE_FILE),
        trials=trials.table(told),
    )


def _log(run_id: str, material: Material, trained: Trained, scratch: Path) -> None:
    """Log the model, and what it was made of and measured by, to the run."""
    project, data, train, test = material.project, material.data, material.train, material.test
    kept = scratch / "report"
    with stage("plots"):
        report.write(kept, project, test, trained.test_answer, trained.importance)
    if len(trained.trials):
        trained.trials.to_csv(kept / "tables/search.csv", index=False)
    (kept / baseline.ARTIFACTS).mkdir()
    baseline.write(kept / baseline.ARTIFACTS, project, train.x, trained.test_answer, test.y)
    with stage("log to MLflow"), mlflow.start_run(run_id=run_id):
        mlflow.log_params(_parameters(material, trained.parameters))
        mlflow.log_metrics(trained.figures)
        mlflow.log_input(
            from_pandas(
                data.rows,
                source=data.uri,
                targets=project.data.target,
                name=project.data.table,
                digest=data.digest[:DIGEST_CHARACTERS],
            ),
            context="training",
        )
        mlflow.log_artifacts(str(kept))
        model_id = model_store.log_model(trained.model, train.x, project, scratch)
        logged = model_store.download(f"models:/{model_id}", scratch / "logged")
        mlflow.set_tags(
            {DIGEST_TAG: artifact_digest(logged), tracking.MODEL_TAG: model_id}
            | model_store.example_tags(trained.model, train.x)
        )


def _parameters(material: Material, parameters: dict[str, Value]) -> dict[str, Any]:
    """What, with the snapshot and the commit, repeats the run exactly; `parameters` are those it was fitted with."""
    training, train, test = material.project.training, material.train, material.test
    return {
        **parameters,
        "entry_point": training.entry_point,
        "seed": training.seed,
        "features": len(material.project.data.features),
        "train_from": train.start.isoformat(),
        "train_to": train.end.isoformat(),
        "test_from": test.start.isoformat(),
        "test_to": test.end.isoformat(),
    }
