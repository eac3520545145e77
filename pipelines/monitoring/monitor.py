"""Step `monitor`: recent predictions of the champion against its training data, and against the truth once known."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Run, RunTag
from mlflow.entities.model_registry import ModelVersion

from contract import DIGEST_TAG, SNAPSHOT_TAG
from pipelines import tracking
from pipelines.data.dataset import features_of, load_snapshot
from pipelines.environment import Environment
from pipelines.models import model_store
from pipelines.models.scoring import predict
from pipelines.monitoring import monitoring_store, predictions
from pipelines.monitoring.monitoring_store import Record
from pipelines.progress import say, stage
from pipelines.project import Project
from pipelines.training import metrics

if TYPE_CHECKING:
    from pipelines.monitoring.drift import DriftResult

PREDICTION = "predicted_probability"
MONITORING_TAG = "platform.monitoring_run"
DRIFTED_TAG = "platform.drifted"
NOTHING: dict[str, Any] = {"drift": None, "drift_share": None, "drifted": [], "performance": None, "report_url": None}


@dataclass(frozen=True)
class Performance:
    """How good the predictions were whose outcome is known: metrics, or None if those are too few to tell."""

    labelled: int
    metrics: dict[str, float] | None


@dataclass(frozen=True)
class Seen:
    """What one look at a version compares. `reference` and `current` hold the features and PREDICTION."""

    project: Project
    champion: ModelVersion
    training: Run
    reference: pd.DataFrame
    current: pd.DataFrame
    times: pd.Series
    performance: Performance


def run(env: Environment, project: Project, window: int | None = None) -> dict[str, Any]:
    """Look at the newest `window` predictions (default: as declared) of the version that is champion.

    Returns `version`, `predictions`, `labelled`, `drift`, `drift_share`, `drifted`, `performance`, `report_url`,
    `message`, and `warnings`. Without a champion, or with too few predictions, the message says so and the figures
    are None: nothing is wrong then.
    """
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        champion = tracking.champion(client, project.name)
        if champion is None:
            return _nothing("no champion yet: train, evaluate and register first")
        version = int(champion.version)
        rules = project.monitoring
        registered = datetime.fromtimestamp(champion.creation_timestamp / 1000, UTC)
        current = predictions.recent(env, project, version, registered, window or rules.window_rows)
        if len(current) < rules.minimum_predictions:
            return _nothing(
                f"not enough predictions by version {version}: {len(current)} of {rules.minimum_predictions} needed",
                version=version,
                predictions=len(current),
            )
        with stage("reference"):
            training = client.get_run(str(champion.run_id))
            reference = _reference(env, project, champion, training)
        seen = Seen(
            project=project,
            champion=champion,
            training=training,
            reference=reference,
            current=current.rename(columns={"probability": PREDICTION}),
            times=current["created_at"],
            performance=_performance(env, project, current),
        )
        record, warning = _look(env, client, seen)
    drifted = ", ".join(record.drifted) or "none"
    message = f"version {version}: {len(record.drifted)} columns drifted ({record.drift_share:.0%}): {drifted}"
    say(f"  {message}")
    return {
        "version": version,
        "predictions": record.predictions,
        "labelled": record.labelled,
        "drift": record.drift,
        "drift_share": record.drift_share,
        "drifted": record.drifted,
        "performance": record.performance,
        "report_url": record.report_url,
        "message": message,
        "warnings": [warning] if warning else [],
    }


def _nothing(message: str, version: int | None = None, **known: int) -> dict[str, Any]:
    say(f"  {message}")
    return {"version": version, "predictions": 0, "labelled": 0, **NOTHING, "message": message, "warnings": [], **known}


def _reference(env: Environment, project: Project, champion: ModelVersion, training: Run) -> pd.DataFrame:
    """A sample of the rows that the version was fitted on: the features, and what the version predicts for them."""
    rows = load_snapshot(env, project, champion.tags[SNAPSHOT_TAG]).rows
    rows = rows[rows[project.data.event_time] <= pd.Timestamp(training.data.params["train_to"])]
    sample = rows.sample(min(len(rows), project.monitoring.reference_rows), random_state=project.training.seed)
    x = features_of(sample, project)
    where = f"{champion.name} version {champion.version}"
    with tempfile.TemporaryDirectory() as scratch:
        directory = model_store.download(f"models:/{champion.name}/{champion.version}", Path(scratch))
        model = model_store.load(directory, champion.tags.get(DIGEST_TAG, ""), where)
    return x.assign(**{PREDICTION: predict(model, x, where)})


def _performance(env: Environment, project: Project, current: pd.DataFrame) -> Performance:
    """Measure the newest prediction of each entity whose outcome is known."""
    latest = current.dropna(subset="entity_key").drop_duplicates("entity_key").set_index("entity_key")
    truth = predictions.outcomes(env, project, list(latest.index))
    known = latest.loc[truth.index]
    if len(truth) < project.monitoring.minimum_predictions or truth.nunique() < 2:
        return Performance(len(truth), None)
    return Performance(len(truth), metrics.figures(truth, known["probability"].to_numpy(dtype=float)))


def _look(env: Environment, client: MlflowClient, seen: Seen) -> tuple[Record, str | None]:
    """Compare, and keep the result: reports and figures in MLflow, in the warehouse, and pushed (else a warning)."""
    from pipelines.monitoring import drift  # noqa: PLC0415 (imports Evidently: seconds, and only here)

    project, champion = seen.project, seen.champion
    kinds = {**project.data.features, PREDICTION: "number"}
    experiment = tracking.experiment_id(client, f"{project.name}_monitoring")
    name = f"monitor version {champion.version}"
    with (
        tempfile.TemporaryDirectory() as directory,
        tracking.open_run(client, experiment, name, _tags(env, seen)) as run_id,
    ):
        with stage("Evidently"):
            found = drift.compare(seen.reference, seen.current, kinds, project.monitoring.drift, Path(directory))
        record = Record(
            run_id=run_id,
            project=project.name,
            version=int(champion.version),
            window_from=seen.times.min().to_pydatetime(),
            window_to=seen.times.max().to_pydatetime(),
            predictions=len(seen.current),
            labelled=seen.performance.labelled,
            drift=found.share >= project.monitoring.drift.share,
            drift_share=found.share,
            drifted=found.drifted,
            performance=seen.performance.metrics,
            report_url=f"{env.mlflow_uri}/#/experiments/{experiment}/runs/{run_id}/artifacts",
            figures=_figures(seen, found),
        )
        _log(client, record, Path(directory))
        monitoring_store.write(env, record)
    client.set_model_version_tag(champion.name, champion.version, MONITORING_TAG, run_id)
    return record, monitoring_store.push(env, record)


def _figures(seen: Seen, found: DriftResult) -> dict[tuple[str, str], float]:
    """Each figure with a name of its own: by feature, and by metric now and at training."""
    figures = {("feature_drift", item.column): item.score for item in found.columns if item.score is not None}
    figures |= {("feature_missing_share", item.column): item.missing_share for item in found.columns}
    figures |= {("performance", name): value for name, value in (seen.performance.metrics or {}).items()}
    training = seen.training.data.metrics
    figures |= {("performance_at_training", name): training[f"test_{name}"] for name in metrics.NAMES}
    return figures


def _tags(env: Environment, seen: Seen) -> dict[str, str]:
    """The tags of the monitoring run, which name the version it looks at."""
    champion = seen.champion
    return {
        tracking.PROJECT_TAG: seen.project.name,
        tracking.STEP_TAG: "monitor",
        tracking.ACTOR_TAG: env.actor,
        tracking.COMMIT_TAG: env.commit,
        tracking.VERSION_TAG: f"{champion.name}/{champion.version}",
        tracking.TRAINING_TAG: str(champion.run_id),
        SNAPSHOT_TAG: champion.tags[SNAPSHOT_TAG],
        "mlflow.user": env.actor,
    }


def _log(client: MlflowClient, record: Record, reports: Path) -> None:
    """Put reports and figures on the monitoring run."""
    now = int(time.time() * 1000)
    named = {f"{figure}.{name}": value for (figure, name), value in record.figures.items()}
    totals = {
        "drift_share": record.drift_share,
        "drift": float(record.drift),
        "predictions": float(record.predictions),
        "labelled": float(record.labelled),
    }
    client.log_batch(
        record.run_id,
        metrics=[Metric(name, value, now, 0) for name, value in (named | totals).items()],
        tags=[RunTag(DRIFTED_TAG, ", ".join(record.drifted)[:5000])],
    )
    client.log_artifacts(record.run_id, str(reports), "reports")
