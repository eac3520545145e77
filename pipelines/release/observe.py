"""Looks at a release: what the candidate has answered since its step began, and how that compares to the champion."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from contract import DIGEST_TAG, SERVING_STATUS_TAG
from pipelines.data.dataset import typed
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.gate.bootstrap import loss_interval
from pipelines.models import model_store
from pipelines.models.scoring import needed, predict
from pipelines.monitoring import baseline, predictions
from pipelines.progress import say
from pipelines.project import Project
from pipelines.release import answers, estimates, server
from pipelines.release.answers import Answers
from pipelines.release.plan import Estimate, Limit, Observation
from pipelines.release.store import Row
from pipelines.training.metrics import Array

LEAST_OUTCOMES = 100
"""From this many outcomes on, the bootstrap of a metric is trusted."""
PASSING = "loading failed"
"""What the model server says of a version that it could not load and tries again; anything else is a refusal."""
LOADING = "loading_failed"

Marks = dict[str, Any]


def observe(
    env: Environment, project: Project, client: MlflowClient, row: Row, alias: str
) -> tuple[Observation, Marks]:
    """What is seen of the release `row` while its candidate has the `alias`, and the marks for the next look.

    For the same rows, the champion's answers are those that it gave as the callers' answers beside a shadow; beside a
    canary they are computed here, by the champion's own model on what the canary was asked.

    Raises:
        StepError: the predictions cannot be read, or the champion's artifact is not what was registered.
        MlflowException: MLflow cannot be reached.
    """
    version = client.get_model_version(project.name, str(row.version))
    counted = server.counters(env, row, alias)
    marks = server.since(row.marks, counted) if isinstance(counted, dict) else dict(row.marks)
    refused, marks[LOADING] = _refused(version, row.marks)
    seen = answers.read(env, project, row, alias)
    figures: dict[Limit, Estimate] = {}
    limits = project.release.limits
    if limits.error_rate is not None and "total" in marks:
        figures["error_rate"] = estimates.rate_difference(*_tried(marks["total"]))
    if limits.latency_ratio is not None:
        figures["latency_ratio"] = estimates.median_ratio(seen.times, seen.champion_times)
    if limits.output_drift is not None and (drift := _output_drift(client, version, seen)) is not None:
        figures["output_drift"] = drift
    if limits.disagreement is not None or limits.performance_loss is not None:
        figures |= _against_champion(env, project, client, row, seen)
    blind = counted if isinstance(counted, str) and limits.error_rate is not None else None
    return Observation(seen.count, figures, refused, blind), marks


def as_json(seen: Observation) -> dict[str, Any]:
    """What was seen, for the table of observations and for a result: numbers that are not finite are None."""
    figures: dict[str, dict[str, float | None]] = {
        name: {key: _number(value) for key, value in asdict(figure).items()} for name, figure in seen.figures.items()
    }
    return {"requests": seen.requests, **figures} | ({"blind": seen.blind} if seen.blind else {})


def _refused(version: ModelVersion, marks: Marks) -> tuple[str | None, bool]:
    """(why the model server does not serve the version, whether it may only have failed to load once)."""
    status = version.tags.get(SERVING_STATUS_TAG)
    if status is None:
        return None, False
    passing = PASSING in status
    return (None if passing and not marks.get(LOADING) else status), passing


def _tried(total: dict[str, float]) -> tuple[int, int, int, int]:
    """(failed, tried, failed by the champion, tried by the champion)."""
    answered, failed, champion_answered, champion_failed = (int(total[name]) for name in server.NAMES)
    return failed, answered + failed, champion_failed, champion_answered + champion_failed


def _output_drift(client: MlflowClient, version: ModelVersion, seen: Answers) -> Estimate | None:
    """The answers against those on the test window; None for a version whose training kept none."""
    known = baseline.find(client, str(version.run_id))
    if known is None:
        say("  the drift of its answers is not looked at: its training run has no baseline")
        return None
    column = known.columns[known.answer]
    now = column.bins.fold(pa.array(seen.rows["answer"].to_numpy(dtype=float), type=pa.float64()))
    return estimates.output_drift(np.asarray(column.sketch.counts), np.asarray(now.counts))


def _against_champion(
    env: Environment, project: Project, client: MlflowClient, row: Row, seen: Answers
) -> dict[Limit, Estimate]:
    """`disagreement` and `performance_loss`, those that the declaration limits."""
    pairs = seen.rows
    if not len(pairs) or row.champion is None:
        return {}
    if "champion" not in pairs:
        champion = client.get_model_version(project.name, str(row.champion))
        computed = _computed(project, champion, pairs["features"])
        if computed is None:
            return {}
        pairs = pairs.assign(champion=computed)
    limits = project.release.limits
    found: dict[Limit, Estimate] = {}
    if limits.disagreement is not None:
        own, other = (pairs[name].to_numpy(dtype=float) for name in ("answer", "champion"))
        scale = 1.0 if project.task == "classification" else float(other.std())
        found["disagreement"] = estimates.mean_distance(own, other, scale)
    if limits.performance_loss is not None:
        found["performance_loss"] = _performance_loss(env, project, pairs)
    return found


def _computed(project: Project, champion: ModelVersion, features: pd.Series) -> Array | None:
    """What the champion answers for what the candidate was asked; None if it needs more than that."""
    raw = list(features)
    kinds = {name: kind for name, kind in project.data.features.items() if name in raw[0]}
    x = typed(pd.DataFrame({name: [asked.get(name) for asked in raw] for name in kinds}), kinds)
    where = f"{champion.name} version {champion.version}"
    with tempfile.TemporaryDirectory() as scratch:
        directory = model_store.download(f"models:/{champion.name}/{champion.version}", Path(scratch))
        model = model_store.load(directory, champion.tags.get(DIGEST_TAG, ""), where)
    try:
        needed(model, x, where)
    except StepError as error:
        say(f"  the answers cannot be compared with the champion's: {error.what}")
        return None
    return predict(model, x, where)


def _performance_loss(env: Environment, project: Project, pairs: pd.DataFrame) -> Estimate:
    """How much worse the candidate is than the champion on the rows whose outcome is known, the newest of an entity."""
    latest = pairs.dropna(subset="entity_key").drop_duplicates("entity_key").set_index("entity_key")
    truth = predictions.outcomes(env, project, [str(key) for key in latest.index])
    known = latest.loc[truth.index]
    own, other = (known[name].to_numpy(dtype=float) for name in ("answer", "champion"))
    rules = project.evaluation
    loss = loss_interval(
        project.task,
        rules.metric,
        truth,
        own,
        other,
        rounds=rules.bootstrap,
        confidence=rules.confidence,
        seed=project.training.seed,
    )
    certain = len(truth) >= LEAST_OUTCOMES and np.isfinite(loss.low)
    return Estimate(loss.value, loss.low if certain else None, len(truth))


def _number(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
