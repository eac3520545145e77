"""How good a model's answers are: probabilities of class 1, or values. Pure functions over arrays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from pipelines.project import METRICS, Metric, Task

LOWER_IS_BETTER: frozenset[str] = frozenset(
    {"log_loss", "brier", "calibration_error", "rmse", "mae", "median_absolute_error"}
)

Array = NDArray[np.float64]


def figures(task: Task, y: pd.Series, answer: Array) -> dict[str, float]:
    """All of `METRICS[task]` of `answer` against the truth `y`, both of shape (n,).

    A classification's `y` is 0 or 1. A metric that such rows leave undefined (`roc_auc` of a single class) is NaN.
    """
    return {metric: figure(metric, y, answer) for metric in METRICS[task]}


def figure(metric: Metric, y: pd.Series, answer: Array) -> float:
    """The one `metric` of `answer` against `y`, as in `figures`."""
    truth = y.to_numpy()
    varied = len(truth) > 1 and bool((truth != truth[0]).any())
    if metric in _NEEDS_VARIETY and not varied:
        return float("nan")
    return float(_FUNCTIONS[metric](truth, answer))


def calibration_bins(y: NDArray[np.int64], probability: Array, bins: int = 10) -> pd.DataFrame:
    """Rows of equal-width bins of the probability: `predicted` and `observed` mean, `rows`; empty bins left out."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    rows = np.bincount(place, minlength=bins)
    used = rows > 0
    return pd.DataFrame(
        {
            "predicted": np.bincount(place, weights=probability, minlength=bins)[used] / rows[used],
            "observed": np.bincount(place, weights=y, minlength=bins)[used] / rows[used],
            "rows": rows[used],
        }
    )


def calibration_error(y: NDArray[np.int64], probability: Array) -> float:
    """Expected calibration error: the mean distance of predicted and observed share over ten bins, by rows."""
    table = calibration_bins(y, probability)
    return float(np.average((table["predicted"] - table["observed"]).abs(), weights=table["rows"]))


def slices(task: Task, x: pd.DataFrame, y: pd.Series, answer: Array, columns: list[str]) -> pd.DataFrame:
    """For each value of each of `columns` of `x`: `slice`, `value`, `rows`, the means `observed` and `predicted`, and
    all of `METRICS[task]`, NaN where undefined. A missing value is the value "(missing)".
    """
    table = pd.DataFrame({"y": y.to_numpy(), "answer": np.asarray(answer)}, index=x.index)
    found = []
    for column in columns:
        for value, part in table.groupby(x[column].astype(object).fillna("(missing)"), sort=True):
            means = {"observed": float(part["y"].mean()), "predicted": float(part["answer"].mean())}
            known = figures(task, part["y"], part["answer"].to_numpy())
            found.append({"slice": column, "value": str(value), "rows": len(part), **means, **known})
    return pd.DataFrame(found, columns=["slice", "value", "rows", "observed", "predicted", *METRICS[task]])


def loss_against(metric: str, candidate: float, champion: float) -> float:
    """By how much `candidate` is worse than `champion` in `metric`; negative if it is better."""
    return candidate - champion if metric in LOWER_IS_BETTER else champion - candidate


def reaches(metric: str, value: float, bound: float) -> bool:
    """Whether `value` is as good as `bound`, or better."""
    return value <= bound if metric in LOWER_IS_BETTER else value >= bound


def _log_loss(truth: NDArray[np.int64], probability: Array) -> float:
    return float(log_loss(truth, probability, labels=[0, 1]))


def _brier(truth: NDArray[np.int64], probability: Array) -> float:
    return float(brier_score_loss(truth, probability, pos_label=1))


_NEEDS_VARIETY = frozenset({"roc_auc", "average_precision", "r2"})
_FUNCTIONS: dict[Metric, Callable[..., float]] = {
    "roc_auc": roc_auc_score,
    "average_precision": average_precision_score,
    "log_loss": _log_loss,
    "brier": _brier,
    "calibration_error": calibration_error,
    "rmse": root_mean_squared_error,
    "mae": mean_absolute_error,
    "median_absolute_error": median_absolute_error,
    "r2": r2_score,
}
