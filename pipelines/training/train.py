"""Step `train`: fit a candidate on a snapshot and log to MLflow all that is needed to judge and to repeat it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.data.pandas_dataset import from_pandas
from sklearn.inspection import permutation_importance

from contract import DIGEST_TAG, ENTITY_KEY_TAG, SNAPSHOT_TAG, artifact_digest
from pipelines import tracking
from pipelines.data import snapshot as snapshot_step
from pipelines.data.dataset import Snapshot, Window, load_snapshot, split_by_time
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.models import model_store
from pipelines.progress import say, stage
from pipelines.project import Project
from pipelines.training import metrics, plots
from pipelines.training.entry_point import build_model

IMPORTANCE_ROWS = 3000
DIGEST_CHARACTERS = 32  # MLflow takes 36 for a dataset


@dataclass(frozen=True)
class Trained:
    """A fitted model with its probabilities of class 1 on both windows."""

    model: Any
    train: Window
    test: Window
    train_probability: metrics.Array
    test_probability: metrics.Array
    figures: dict[str, float]


def run(env: Environment, project: Project, snapshot: str | None = None, reuse: bool = False) -> dict[str, Any]:
    """Train on the snapshot at the address `snapshot` (made now if none is given). With `reuse`, a finished run on the
    same snapshot by the same commit is taken instead: training is repeatable, so it would only be made again.

    Returns `run_id`, `snapshot` (its address), `metrics` (``train_…``, ``test_…``, ``rows_…``) and `reused`.
    """
    uri = snapshot or str(snapshot_step.run(env, project)["uri"])
    if reuse:
        with tracking.mlflow_errors(env):
            known = tracking.same_training(tracking.connect(env), project, uri, env.commit)
        if known is not None:
            say(f"  nothing is new: run {known.info.run_id} was trained on this snapshot by this commit")
            return {"run_id": known.info.run_id, "snapshot": uri, "metrics": known.data.metrics, "reused": True}
    with stage("read the snapshot"):
        data = load_snapshot(env, project, uri)
        train, test = split_by_time(data, project)
    model = build_model(project)
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        experiment = tracking.experiment_id(client, project.name)
        name = f"train {data.rows[project.data.event_time].max():%Y-%m-%d} {data.digest[:8]}"
        with tracking.open_run(client, experiment, name, _tags(env, project, data)) as run_id:
            trained = _fit(project, model, train, test)
            _log(run_id, project, data, trained)
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


def _fit(project: Project, model: Any, train: Window, test: Window) -> Trained:
    """Fit `model` on the training window and measure it on both."""
    with stage(f"fit on {len(train.y)} rows"):
        try:
            model.fit(train.x, train.y)
            train_probability = model.predict_proba(train.x)[:, 1]
            test_probability = model.predict_proba(test.x)[:, 1]
        except Exception as error:
            raise StepError(
                f"the model cannot be fitted: {type(error).__name__}: {error}",
                where=f"projects/{project.name}",
                do="correct the entry point or training.parameters; --debug shows where",
            ) from error
    figures: dict[str, float] = {"rows_train": len(train.y), "rows_test": len(test.y)}
    for name, window, probability in (("train", train, train_probability), ("test", test, test_probability)):
        figures |= {f"{name}_{key}": value for key, value in metrics.figures(window.y, probability).items()}
        figures[f"{name}_positive_rate"] = float(window.y.mean())
    return Trained(model, train, test, train_probability, test_probability, figures)


def _log(run_id: str, project: Project, data: Snapshot, trained: Trained) -> None:
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        with stage("plots"):
            _write_report(project, trained, scratch / "report")
        with stage("log to MLflow"), mlflow.start_run(run_id=run_id):
            mlflow.log_params(_parameters(project, trained))
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
            mlflow.log_artifacts(str(scratch / "report"))
            model_id = model_store.log_model(trained.model, trained.train.x, scratch)
            logged = model_store.download(f"models:/{model_id}", scratch / "logged")
            mlflow.set_tags(
                {DIGEST_TAG: artifact_digest(logged), tracking.MODEL_TAG: model_id}
                | model_store.example_tags(trained.model, trained.train.x)
            )


def _parameters(project: Project, trained: Trained) -> dict[str, Any]:
    """What, with the snapshot and the commit, repeats the run exactly."""
    return {
        **project.training.parameters,
        "entry_point": project.training.entry_point,
        "seed": project.training.seed,
        "features": len(project.data.features),
        "train_from": trained.train.start.isoformat(),
        "train_to": trained.train.end.isoformat(),
        "test_from": trained.test.start.isoformat(),
        "test_to": trained.test.end.isoformat(),
    }


def _write_report(project: Project, trained: Trained, directory: Path) -> None:
    """Write plots and tables of the test window below `directory`."""
    (directory / "plots").mkdir(parents=True)
    (directory / "tables").mkdir()
    test, probability = trained.test, trained.test_probability
    auc = trained.figures["test_roc_auc"]
    plots.roc(test.y, probability, auc, directory / "plots/roc.png")
    plots.calibration(test.y, probability, directory / "plots/calibration.png")
    ranking = _importance(trained.model, test, project.training.seed)
    ranking.to_csv(directory / "tables/importance.csv", index=False)
    plots.importance(ranking, directory / "plots/importance.png")
    if project.evaluation.slices:
        table = metrics.slices(test.x, test.y, probability, project.evaluation.slices)
        table.to_csv(directory / "tables/slices.csv", index=False)
        for name, part in table.groupby("slice"):
            plots.slice_points(part, auc, directory / f"plots/slice_{name}.png")
    (directory / "project.json").write_text(
        json.dumps(project.model_dump(mode="json", exclude={"directory"}), indent=2), encoding="utf-8"
    )


def _importance(model: Any, test: Window, seed: int) -> pd.DataFrame:
    """`feature` and `importance` (loss of ROC AUC), the most important first, on a sample of the test window."""
    x = test.x.sample(min(IMPORTANCE_ROWS, len(test.x)), random_state=seed)
    y = test.y.loc[x.index]
    if y.nunique() < 2:
        return pd.DataFrame({"feature": list(x.columns), "importance": 0.0})
    found = permutation_importance(model, x, y, scoring="roc_auc", n_repeats=1, random_state=seed)
    table = pd.DataFrame({"feature": list(x.columns), "importance": found.importances_mean})
    return table.sort_values("importance", ascending=False, ignore_index=True)
