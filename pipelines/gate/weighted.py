"""The metrics of many resamples at once: rows are ranked once, a resample only weights them.

A resample is a row of a matrix of counts (how often each row was drawn). With all counts 1 each statistic is what
scikit-learn gives for the rows themselves.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.project import Metric
from pipelines.training.metrics import Array

Statistic = Callable[[Array], Array]
"""Counts of shape (resamples, rows) → the metric of each resample, shape (resamples,); NaN where there is none."""

CALIBRATION_BINS = 10

Places = NDArray[np.intp]


def statistic(metric: Metric, y: Array, answer: Array) -> Statistic:
    """The `metric` of `answer` against `y` (both of shape (rows,)) as a function of the counts."""
    return _STATISTICS[metric](y, answer)


def _mean(values: Array) -> Statistic:
    return lambda counts: counts @ values / counts.sum(axis=1)


def _log_loss(y: Array, answer: Array) -> Statistic:
    smallest = np.finfo(np.float64).eps
    p = np.clip(answer, smallest, 1 - smallest)
    return _mean(-np.where(y > 0, np.log(p), np.log1p(-p)))


def _calibration_error(y: Array, answer: Array) -> Statistic:
    """Distance of predicted and observed share over equal-width bins, weighted by rows."""
    place = np.minimum((answer * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap_by_bin = np.zeros((len(y), CALIBRATION_BINS))
    gap_by_bin[np.arange(len(y)), place] = answer - y
    return lambda counts: np.abs(counts @ gap_by_bin).sum(axis=1) / counts.sum(axis=1)


def _roc_auc(y: Array, answer: Array) -> Statistic:
    """The share of pairs of both classes that are in the right order, ties counted half (Mann-Whitney)."""
    order, starts = _ranked(answer)
    positive = y[order]

    def of(counts: Array) -> Array:
        drawn = counts[:, order]
        positives = np.add.reduceat(drawn * positive, starts, axis=1)
        negatives = np.add.reduceat(drawn, starts, axis=1) - positives
        below = np.cumsum(negatives, axis=1) - negatives / 2
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return _ratio((positives * below).sum(axis=1), pairs)

    return of


def _average_precision(y: Array, answer: Array) -> Statistic:
    """The sum over thresholds of precision times the gain in recall."""
    order, starts = _ranked(-answer)
    positive = y[order]

    def of(counts: Array) -> Array:
        drawn = counts[:, order]
        positives = np.add.reduceat(drawn * positive, starts, axis=1)
        found = np.cumsum(np.add.reduceat(drawn, starts, axis=1), axis=1)
        precision = np.cumsum(positives, axis=1) / np.maximum(found, 1)
        return _ratio((positives * precision).sum(axis=1), positives.sum(axis=1))

    return of


def _rmse(y: Array, answer: Array) -> Statistic:
    mean = _mean((y - answer) ** 2)
    return lambda counts: np.sqrt(mean(counts))


def _median_absolute_error(y: Array, answer: Array) -> Statistic:
    error = np.abs(y - answer)
    order = np.argsort(error)
    ranked = error[order]

    def of(counts: Array) -> Array:
        reached = np.cumsum(counts[:, order], axis=1)
        total = reached[:, -1:]
        lower = ranked[(reached > (total - 1) // 2).argmax(axis=1)]
        upper = ranked[(reached > total // 2).argmax(axis=1)]
        middle: Array = (lower + upper) / 2
        return middle

    return of


def _r2(y: Array, answer: Array) -> Statistic:
    centred = y - y.mean()
    unexplained, squares, values = _mean((y - answer) ** 2), _mean(centred**2), _mean(centred)
    return lambda counts: 1 - _ratio(unexplained(counts), squares(counts) - values(counts) ** 2)


def _ranked(values: Array) -> tuple[Places, Places]:
    """(order of `values`, where each group of equal values starts in it)."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    return order, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])


def _ratio(above: Array, below: Array) -> Array:
    """`above` / `below`, NaN where `below` is not positive."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


_STATISTICS: dict[Metric, Callable[[Array, Array], Statistic]] = {
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": lambda y, answer: _mean((y - answer) ** 2),
    "calibration_error": _calibration_error,
    "rmse": _rmse,
    "mae": lambda y, answer: _mean(np.abs(y - answer)),
    "median_absolute_error": _median_absolute_error,
    "r2": _r2,
}
