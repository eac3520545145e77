"""What a look found, in the forms in which it is kept and told: figures, a table, a sentence, warnings."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag

from pipelines.monitoring.drift import DriftResult
from pipelines.monitoring.monitoring_store import Record
from pipelines.monitoring.performance import Performance
from pipelines.monitoring.predictions import Health
from pipelines.project import METRICS, Project, seconds
from pipelines.training import metrics

DRIFTED_TAG = "platform.drifted"
METRICS_A_CALL = 500
DAY_SECONDS = 86400

Figures = dict[tuple[str, str], float]


def figures(
    project: Project, drift: DriftResult, health: Health, found: Performance, training: Mapping[str, float]
) -> Figures:
    """Each figure with a name of its own: by column, by metric now and at training, and of the answers."""
    monitoring, metric = project.monitoring, project.evaluation.metric
    named: dict[tuple[str, str], float | None] = {
        ("performance_loss_allowed", ""): monitoring.performance_loss,
        ("maximum_age_days", ""): seconds(monitoring.maximum_age) / DAY_SECONDS,
        ("answers_without_number", ""): health.without_number,
        ("answers_distinct", ""): health.distinct,
    }
    for item in drift.columns:
        named[("feature_drift", item.column)] = item.score
        named[("feature_drift_threshold", item.column)] = item.threshold
        named[("feature_missing_share", item.column)] = item.missing_share
        named[("feature_outside_share", item.column)] = item.outside_share
        named[("feature_mistyped", item.column)] = item.mistyped
    at_training = {name: training.get(f"test_{name}", math.nan) for name in METRICS[project.task]}
    named |= {("performance_at_training", name): value for name, value in at_training.items()}
    named |= {("latency_ms", name): value for name, value in (latency(health) or {}).items()}
    for figure, loss, values in (
        ("performance", "performance_loss", found.metrics),
        ("estimated", "estimated_loss", found.estimated),
    ):
        named |= {(figure, name): value for name, value in (values or {}).items()}
        if values and metric in values:
            named[(loss, metric)] = metrics.loss_against(metric, values[metric], at_training[metric])
    if found.interval:
        named[("performance_low", metric)], named[("performance_high", metric)] = found.interval
    return {key: float(value) for key, value in named.items() if value is not None and math.isfinite(value)}


def latency(health: Health) -> dict[str, float] | None:
    """The latency's quantiles in milliseconds."""
    if health.p50 is None or health.p95 is None or health.p99 is None:
        return None
    return {"p50": health.p50, "p95": health.p95, "p99": health.p99}


def warnings(project: Project, health: Health, age_days: float) -> list[str]:
    """What a person should look at although it is neither drift nor lost performance."""
    found = []
    if health.without_number:
        found.append(f"{health.without_number} of {health.rows} answers are no finite number")
    if health.distinct == 1 and health.rows > 1:
        found.append(f"all {health.rows} answers are the same number")
    if age_days > seconds(project.monitoring.maximum_age) / DAY_SECONDS:
        found.append(
            f"the version is {age_days:.0f} days old: monitoring.maximum_age is {project.monitoring.maximum_age}"
        )
    return found


def message(project: Project, record: Record) -> str:
    """One sentence: drift, and performance as far as it is known."""
    names = ", ".join(record.drifted) or "none"
    text = f"version {record.version}: {len(record.drifted)} columns drifted ({record.drift_share:.0%}): {names}"
    metric = project.evaluation.metric
    if record.performance and metric in record.performance and record.performance_interval:
        low, high = record.performance_interval[metric]
        text += f"; {metric} {record.performance[metric]:.3f} ({low:.3f} to {high:.3f})"
        text += ", lost beyond doubt" if record.lost_performance else ""
    elif record.estimated and metric in record.estimated:
        text += f"; {metric} estimated {record.estimated[metric]:.3f}"
    return text


def table(drift: DriftResult, file: Path) -> None:
    """Write all columns, the furthest drifted first, as a CSV that MLflow shows as a table."""
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text)
        head = ("column", "drifted", "score", "threshold", "missing", "outside training", "mistyped", "unseen")
        writer.writerow(head)
        for item in sorted(drift.columns, key=lambda item: -item.score / item.threshold):
            shares = (f"{item.missing_share:.4f}", f"{item.outside_share:.4f}", item.mistyped)
            score = ("yes" if item.drifted else "no", f"{item.score:.4f}", f"{item.threshold:.4f}")
            writer.writerow((item.column, *score, *shares, " ".join(item.unseen)))


def log(client: MlflowClient, record: Record, reports: Path) -> None:
    """Put reports and figures on the monitoring run."""
    now = int(time.time() * 1000)
    named: dict[str, Any] = {
        "drift_share": record.drift_share,
        "drift": float(record.drift),
        "predictions": float(record.predictions),
        "labelled": float(record.labelled),
        "lost_performance": float(record.lost_performance),
        "age_days": record.age_days,
        **{f"{figure}.{name}" if name else figure: value for (figure, name), value in record.figures.items()},
    }
    logged = [Metric(name, value, now, 0) for name, value in named.items()]
    for start in range(0, len(logged), METRICS_A_CALL):
        client.log_batch(record.run_id, metrics=logged[start : start + METRICS_A_CALL])
    client.log_batch(record.run_id, tags=[RunTag(DRIFTED_TAG, ", ".join(record.drifted)[:5000])])
    client.log_artifacts(record.run_id, str(reports), "reports")
