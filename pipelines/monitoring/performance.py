"""How good the answers were, once outcomes are known; and how good they should be, before."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pandas as pd

from pipelines.environment import Environment
from pipelines.gate import bootstrap
from pipelines.monitoring import predictions
from pipelines.monitoring.estimate import Calibration, estimate
from pipelines.monitoring.predictions import Given
from pipelines.project import Project, seconds
from pipelines.training import metrics


@dataclass(frozen=True)
class Performance:
    """The metrics of the newest answers. `metrics` and `interval` are None if too few outcomes are known to tell, and
    `estimated` if there are too few answers; `interval` holds the declared metric with the declared confidence."""

    labelled: int
    metrics: dict[str, float] | None
    interval: tuple[float, float] | None
    estimated: dict[str, float] | None
    lost: bool
    """The declared metric is worse than at training by more than is allowed, beyond doubt."""


def measure(
    env: Environment, given: Given, *, rows: int, calibration: Calibration, at_training: float | None
) -> Performance:
    """Measure the newest `rows` answers whose outcome is known, and estimate the newest `rows` answers.

    `at_training` is the declared metric on the test window.
    """
    newest = predictions.answers(env, given, rows)
    truth, known = _known(env, given, rows, newest)
    return judge(given.project, newest, truth, known, calibration=calibration, at_training=at_training)


def judge(
    project: Project,
    newest: pd.DataFrame,
    truth: pd.Series,
    known: pd.Series,
    *,
    calibration: Calibration,
    at_training: float | None,
) -> Performance:
    """The same from the `newest` answers (column `answer`), and from the answers `known` whose outcome is `truth`."""
    least = project.monitoring.minimum_predictions
    answers = newest["answer"].to_numpy(dtype=float)
    estimated = estimate(calibration, answers) if len(newest) >= least else None
    if len(truth) < least or truth.nunique() < 2:
        return Performance(len(truth), None, None, estimated, lost=False)
    evaluation = project.evaluation
    answer = known.to_numpy(dtype=float)
    found = metrics.figures(project.task, truth, answer)
    band = bootstrap.interval(
        project.task,
        evaluation.metric,
        truth,
        answer,
        rounds=evaluation.bootstrap,
        confidence=evaluation.confidence,
        seed=project.training.seed,
    )
    best = band.low if evaluation.metric in metrics.LOWER_IS_BETTER else band.high
    lost = at_training is not None and (
        metrics.loss_against(evaluation.metric, best, at_training) > project.monitoring.performance_loss
    )
    finite = {name: value for name, value in found.items() if math.isfinite(value)}
    return Performance(len(truth), finite, (band.low, band.high), estimated, lost)


def _known(env: Environment, given: Given, rows: int, newest: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """(outcomes, answers) by entity: of the newest answers, and of the newest that are old enough to have outcomes."""
    delay = timedelta(seconds=seconds(given.project.data.target_known_after))
    looked = [newest]
    if delay:
        now = datetime.now(UTC)
        old = replace(given, until=min(now - delay, given.until or now))
        looked.append(predictions.answers(env, old, rows))
    # An entity that was asked about more than once counts with its newest answer.
    latest = pd.concat(looked).drop_duplicates("entity_key").set_index("entity_key")["answer"]
    truth = predictions.outcomes(env, given.project, list(latest.index))
    truth = truth.loc[[key for key in latest.index if key in truth.index]].head(rows)
    return truth, latest.loc[truth.index]
