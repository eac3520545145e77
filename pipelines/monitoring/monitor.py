"""Step `monitor`: what the champion was asked and answered lately, against its training, and against the truth once
known."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from contract import SNAPSHOT_TAG
from pipelines import tracking
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.monitoring import drift, findings, monitoring_store, performance, predictions, reference
from pipelines.monitoring import window as windows
from pipelines.monitoring.baseline import Baseline
from pipelines.monitoring.drift import DriftResult
from pipelines.monitoring.monitoring_store import Record
from pipelines.monitoring.performance import Performance
from pipelines.monitoring.predictions import Given, Health
from pipelines.monitoring.window import Window
from pipelines.progress import say, stage
from pipelines.project import Project

MONITORING_TAG = "platform.monitoring_run"
REPORT_TAG = "platform.monitoring_report"
NOTHING: dict[str, Any] = {
    "labelled": 0,
    "drift": None,
    "drift_share": None,
    "drifted": [],
    "performance": None,
    "performance_interval": None,
    "estimated": None,
    "lost_performance": False,
    "age_days": None,
    "latency_ms": None,
    "report_url": None,
}


@dataclass(frozen=True)
class Subject:
    """The version that is looked at, and what it comes from."""

    project: Project
    champion: ModelVersion
    training: Run
    baseline: Baseline

    @property
    def version(self) -> int:
        """Its number."""
        return int(self.champion.version)

    @property
    def registered(self) -> datetime:
        """When it was registered."""
        return datetime.fromtimestamp(self.champion.creation_timestamp / 1000, UTC)


@dataclass(frozen=True)
class Seen:
    """What one look at a version finds."""

    subject: Subject
    window: Window
    drift: DriftResult
    health: Health
    performance: Performance
    age_days: float


def run(env: Environment, project: Project, window: int | None = None, report: bool = False) -> dict[str, Any]:
    """Look at the newest `window` predictions (default: as declared) of the version that is champion.

    With `report`, or if a column drifted, Evidently's pages are written too. Returns `version`, `predictions`,
    `window_from`, `window_to`, `labelled`, `drift`, `drift_share`, `drifted`, `performance`, `performance_interval`
    (of the declared metric), `estimated` (the metrics as they are to be expected before outcomes are known),
    `lost_performance`, `age_days`, `latency_ms`, `report_url`, `message` and `warnings`. Without a champion, or with
    too few predictions, the message says so and the figures are None: nothing is wrong then.
    """
    client = tracking.connect(env)
    with tracking.mlflow_errors(env):
        champion = tracking.champion(client, project.name)
        if champion is None:
            return _nothing("no champion yet: train, evaluate and register first")
        training = client.get_run(str(champion.run_id))
        subject = Subject(project, champion, training, reference.baseline(env, client, project, champion))
        rows = window or project.monitoring.window_rows
        with stage("new predictions"):
            found = windows.look(
                env, project, subject.version, baseline=subject.baseline, registered=subject.registered, rows=rows
            )
        needed, number = project.monitoring.minimum_predictions, found.rows if found else 0
        if found is None or number < needed:
            return _nothing(
                f"not enough predictions by version {subject.version}: {number} of {needed} needed",
                version=subject.version,
                predictions=number,
            )
        seen = _see(env, subject, found, rows)
        record, warnings = _keep(env, client, seen, report)
    message = findings.message(project, record)
    say(f"  {message}")
    return {
        "version": record.version,
        "predictions": record.predictions,
        "window_from": record.window_from.isoformat(),
        "window_to": record.window_to.isoformat(),
        **{name: getattr(record, name) for name in NOTHING if name != "latency_ms"},
        "latency_ms": findings.latency(seen.health),
        "message": message,
        "warnings": warnings,
    }


def _nothing(message: str, version: int | None = None, **known: int) -> dict[str, Any]:
    say(f"  {message}")
    return {"version": version, "predictions": 0, **NOTHING, "message": message, "warnings": [], **known}


def _see(env: Environment, subject: Subject, found: Window, rows: int) -> Seen:
    """Compare with the training, and measure."""
    project, version = subject.project, subject.version
    return Seen(
        subject=subject,
        window=found,
        drift=drift.compare(subject.baseline.columns, found.columns, project.monitoring.drift),
        health=predictions.health(env, Given(project, version, found.starts_at, found.ends_at)),
        performance=performance.measure(
            env,
            Given(project, version, subject.registered - predictions.CLOCKS_DIFFER),
            rows=rows,
            calibration=subject.baseline.calibration,
            at_training=subject.training.data.metrics.get(f"test_{project.evaluation.metric}"),
        ),
        age_days=(datetime.now(UTC) - subject.registered).total_seconds() / 86400,
    )


def _keep(env: Environment, client: MlflowClient, seen: Seen, report: bool) -> tuple[Record, list[str]]:
    """Keep what was found: in MLflow, in the warehouse, and pushed; what did not work of it are warnings."""
    project, champion = seen.subject.project, seen.subject.champion
    experiment = tracking.experiment_id(client, f"{project.name}_monitoring")
    name = f"monitor version {champion.version}"
    warnings = findings.warnings(project, seen.health, seen.age_days)
    with (
        tempfile.TemporaryDirectory() as scratch,
        tracking.open_run(client, experiment, name, _tags(env, seen)) as run_id,
    ):
        record = _record(seen, run_id, f"{env.mlflow_pages}/experiments/{experiment}/runs/{run_id}/artifacts")
        directory = Path(scratch)
        findings.table(seen.drift, directory / "columns.csv")
        if report or record.drifted:
            warnings += _deep_report(env, seen, directory)
        findings.log(client, record, directory)
        monitoring_store.write(env, record)
    for tag, value in ((MONITORING_TAG, run_id), (REPORT_TAG, record.report_url)):
        client.set_model_version_tag(champion.name, champion.version, tag, value)
    pushed = monitoring_store.push(env, record)
    return record, warnings + ([pushed] if pushed else [])


def _record(seen: Seen, run_id: str, report_url: str) -> Record:
    project, found = seen.subject.project, seen.performance
    metric = project.evaluation.metric
    return Record(
        run_id=run_id,
        project=project.name,
        version=seen.subject.version,
        window_from=seen.window.starts_at,
        window_to=seen.window.ends_at,
        predictions=seen.window.rows,
        labelled=found.labelled,
        drift=seen.drift.share >= project.monitoring.drift.share,
        drift_share=seen.drift.share,
        drifted=seen.drift.drifted,
        performance=found.metrics,
        performance_interval={metric: list(found.interval)} if found.interval else None,
        estimated=found.estimated,
        lost_performance=found.lost,
        age_days=round(seen.age_days, 3),
        report_url=report_url,
        figures=findings.figures(project, seen.drift, seen.health, found, seen.subject.training.data.metrics),
    )


def _deep_report(env: Environment, seen: Seen, directory: Path) -> list[str]:
    """Write Evidently's pages; a warning if they cannot be."""
    from pipelines.monitoring import deep_report  # noqa: PLC0415 (imports Evidently: seconds, and only here)

    subject, project, answer = seen.subject, seen.subject.project, seen.subject.baseline.answer
    rows = min(seen.window.rows, project.monitoring.reference_rows)
    with stage("Evidently"):
        try:
            train_to = str(subject.training.data.params["train_to"])
            before = reference.sample(env, project, subject.champion, train_to, answer)
            recent = predictions.recent(env, project, subject.version, seen.window.starts_at, rows)
        except StepError as error:
            return [f"no deep report: {error.what}"]
        kinds = {**project.data.features, answer: subject.baseline.kinds[answer]}
        deep_report.write(before, recent.rename(columns={"answer": answer}), kinds, project.monitoring.drift, directory)
    return []


def _tags(env: Environment, seen: Seen) -> dict[str, str]:
    """The tags of the monitoring run, which name the version it looks at."""
    champion = seen.subject.champion
    return {
        tracking.PROJECT_TAG: seen.subject.project.name,
        tracking.STEP_TAG: "monitor",
        tracking.ACTOR_TAG: env.actor,
        tracking.COMMIT_TAG: env.commit,
        tracking.VERSION_TAG: f"{champion.name}/{champion.version}",
        tracking.TRAINING_TAG: str(champion.run_id),
        SNAPSHOT_TAG: champion.tags[SNAPSHOT_TAG],
        "mlflow.user": env.actor,
    }
