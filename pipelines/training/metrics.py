"""How good probabilities are. Pure functions over arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

NAMES = ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error")
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "calibration_error"})

Array = NDArray[np.float64]


def figures(y: pd.Series, probability: Array) -> dict[str, float]:
    """The metrics of `probability` (of class 1, shape (n,)) against `y` (0 or 1, both present, shape (n,))."""
    return {
        "roc_auc": float(roc_auc_score(y, probability)),
        "average_precision": float(average_precision_score(y, probability)),
        "log_loss": float(log_loss(y, probability, labels=[0, 1])),
        "brier": float(brier_score_loss(y, probability)),
        "calibration_error": calibration_error(y.to_numpy(), probability),
    }


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


def slices(x: pd.DataFrame, y: pd.Series, probability: Array, columns: list[str]) -> pd.DataFrame:
    """For each value of each of `columns`: `slice`, `value`, `rows`, `positive_rate`, `predicted_rate`, `roc_auc`.

    `roc_auc` is missing where only one class occurs.
    """
    table = pd.DataFrame({"y": y.to_numpy(), "p": probability}, index=x.index)
    found = []
    for column in columns:
        for value, part in table.groupby(x[column].astype(object).fillna("(missing)"), sort=True):
            auc = roc_auc_score(part["y"], part["p"]) if part["y"].nunique() > 1 else None
            found.append((column, str(value), len(part), part["y"].mean(), part["p"].mean(), auc))
    return pd.DataFrame(found, columns=["slice", "value", "rows", "positive_rate", "predicted_rate", "roc_auc"])


def loss_against(metric: str, candidate: float, champion: float) -> float:
    """By how much `candidate` is worse than `champion` in `metric`; negative if it is better."""
    return candidate - champion if metric in LOWER_IS_BETTER else champion - candidate


def reaches(metric: str, value: float, bound: float) -> bool:
    """Whether `value` is as good as `bound`, or better."""
    return value <= bound if metric in LOWER_IS_BETTER else value >= bound
