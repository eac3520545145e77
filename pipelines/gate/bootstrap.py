"""Confidence intervals of metrics, and of the loss of one model against another, by the bootstrap.

Bias-corrected percentile intervals (Efron, "Better bootstrap confidence intervals", 1987, without acceleration): a
metric such as the calibration error is larger in a resample than in the rows, which plain percentiles would pass on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from pipelines.gate.weighted import Statistic, statistic
from pipelines.project import METRICS, Metric, Task
from pipelines.training.metrics import LOWER_IS_BETTER, Array

CELLS = 2_000_000
"""Counts that are held at once: rounds are computed in parts, so that memory stays flat."""


class Interval(NamedTuple):
    """A figure with its bounds; all NaN if the figure does not exist for the rows (ROC AUC of a single class)."""

    low: float
    value: float
    high: float


class Comparison(NamedTuple):
    """Both models' metric and the loss of the candidate (positive: it is worse), on the same rows and resamples."""

    candidate: Interval
    champion: Interval
    loss: Interval


def interval(
    task: Task,
    metric: Metric,
    y: pd.Series | Array,
    answer: Array,
    *,
    rounds: int,
    confidence: float,
    seed: int,
) -> Interval:
    """The `metric` of `answer` against `y`, with bounds that hold it with the probability `confidence`.

    Raises:
        ValueError: the metric is none of the task.
    """
    measure = [_statistic(task, metric, y, answer)]
    return _interval(_values(measure, len(y))[:, 0], _replicates(measure, len(y), rounds, seed)[:, 0], confidence)


def loss_interval(
    task: Task,
    metric: Metric,
    y: pd.Series | Array,
    candidate: Array,
    champion: Array,
    *,
    rounds: int,
    confidence: float,
    seed: int,
) -> Interval:
    """By how much the answers `candidate` are worse than `champion` (positive: worse) on the same rows, with bounds.

    Both are measured on the same resamples: what is hard for both cancels out.

    Raises:
        ValueError: the metric is none of the task.
    """
    return compare(task, metric, y, candidate, champion, rounds=rounds, confidence=confidence, seed=seed).loss


def compare(
    task: Task,
    metric: Metric,
    y: pd.Series | Array,
    candidate: Array,
    champion: Array,
    *,
    rounds: int,
    confidence: float,
    seed: int,
) -> Comparison:
    """`interval` of both and their `loss_interval`, at the price of one.

    Raises:
        ValueError: the metric is none of the task.
    """
    both = [_statistic(task, metric, y, answer) for answer in (candidate, champion)]
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    found, drawn = _values(both, len(y)), _replicates(both, len(y), rounds, seed)
    return Comparison(
        _interval(found[:, 0], drawn[:, 0], confidence),
        _interval(found[:, 1], drawn[:, 1], confidence),
        _interval(sign * (found[:, 0] - found[:, 1]), sign * (drawn[:, 0] - drawn[:, 1]), confidence),
    )


def _statistic(task: Task, metric: Metric, y: pd.Series | Array, answer: Array) -> Statistic:
    if metric not in METRICS[task]:
        raise ValueError(f"{metric} is no metric of a {task}")
    if not len(y):
        return lambda counts: np.full(len(counts), np.nan)
    return statistic(metric, np.asarray(y, dtype=np.float64), np.asarray(answer, dtype=np.float64))


def _values(statistics: Sequence[Statistic], rows: int) -> Array:
    """The statistics of the rows themselves; shape (1, statistics)."""
    return np.stack([measure(np.ones((1, rows))) for measure in statistics], axis=1)


def _replicates(statistics: Sequence[Statistic], rows: int, rounds: int, seed: int) -> Array:
    """The statistics of `rounds` resamples with replacement; shape (rounds, statistics)."""
    random = np.random.default_rng(seed)
    at_once = max(1, CELLS // max(rows, 1))
    parts = []
    for start in range(0, rounds, at_once):
        counts = np.empty((min(at_once, rounds - start), rows))
        for row in counts:
            row[:] = np.bincount(random.integers(rows, size=rows), minlength=rows) if rows else 0
        parts.append(np.stack([measure(counts) for measure in statistics], axis=1))
    return np.concatenate(parts)


def _interval(value: Array, replicates: Array, confidence: float) -> Interval:
    """The bias-corrected percentiles of `replicates` around `value` (shape (1,))."""
    found = float(value[0])
    drawn = replicates[np.isfinite(replicates)]
    if not np.isfinite(found) or not len(drawn):
        return Interval(np.nan, np.nan, np.nan)
    below = (np.mean(drawn < found) + np.mean(drawn <= found)) / 2
    bias = ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    tail = ndtri((1 - confidence) / 2)
    low, high = np.quantile(drawn, ndtr([2 * bias + tail, 2 * bias - tail]))
    return Interval(min(float(low), found), found, max(float(high), found))
