"""What the metrics will be, told before the outcomes are known: from the answers alone, and how they did at training.

Binary: CBPE (confidence-based performance estimation, NannyML): a calibrated probability says how often the outcome is
1, so each answer counts as that much of a 1 and the rest of a 0. Regression: answers are expected to err as those of
their size did on the test window. Both hold as long as the same inputs still mean the same outcomes: drift of the
inputs shows in the estimate, a changed world does not, before the outcomes come.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from pipelines.project import Task
from pipelines.training.metrics import Array

BINS = 50
ROWS_A_BIN = 50
CALIBRATION_BINS = 10
SMALLEST = 1e-15


class Calibration(BaseModel):
    """How the answers of the test window did, by their size, least first.

    `answer` is the mean answer of a bin. Binary: `outcome` is the share of ones, made monotone. Regression: `bias` and
    `square` are the means of truth − answer and of its square, `error` that of its size, `median` its median size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    answer: list[float]
    outcome: list[float] = []
    bias: list[float] = []
    square: list[float] = []
    error: list[float] = []
    median: list[float] = []


def calibrate(task: Task, answer: Array, y: pd.Series) -> Calibration:
    """Learn from the test window's answers and outcomes `y`, both of shape (n,), n ≥ 1."""
    order = np.argsort(answer, kind="stable")
    bins = np.array_split(order, int(np.clip(len(order) // ROWS_A_BIN, 1, BINS)))
    truth = y.to_numpy(dtype=float)
    means = [float(answer[rows].mean()) for rows in bins]
    if task == "classification":
        shares = [float(truth[rows].mean()) for rows in bins]
        sizes = [len(rows) for rows in bins]
        smooth = IsotonicRegression(y_min=0, y_max=1).fit_transform(means, shares, sample_weight=sizes)
        return Calibration(task=task, answer=means, outcome=smooth.tolist())
    errors = [truth[rows] - answer[rows] for rows in bins]
    return Calibration(
        task=task,
        answer=means,
        bias=[float(part.mean()) for part in errors],
        square=[float(np.square(part).mean()) for part in errors],
        error=[float(np.abs(part).mean()) for part in errors],
        median=[float(np.median(np.abs(part))) for part in errors],
    )


def estimate(calibration: Calibration, answer: Array) -> dict[str, float]:
    """The metrics to expect of the answers, shape (n,), n ≥ 1; one that such answers leave undefined is left out."""
    if calibration.task == "classification":
        likely = np.interp(answer, calibration.answer, calibration.outcome)
        figures = _classification(answer, likely)
    else:
        figures = _regression(calibration, answer)
    return {name: float(value) for name, value in figures.items() if np.isfinite(value)}


def _classification(answer: Array, likely: Array) -> dict[str, float]:
    """Every row twice: as a 1 with the weight `likely`, as a 0 with what is left."""
    truth = np.repeat([1, 0], len(answer))
    twice, weights = np.tile(answer, 2), np.concatenate([likely, 1 - likely])
    safe = np.clip(answer, SMALLEST, 1 - SMALLEST)
    place = np.minimum((answer * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    apart = np.bincount(place, weights=answer - likely, minlength=CALIBRATION_BINS)
    both = 0 < likely.sum() < len(likely)
    return {
        "roc_auc": roc_auc_score(truth, twice, sample_weight=weights) if both else np.nan,
        "average_precision": average_precision_score(truth, twice, sample_weight=weights) if both else np.nan,
        "log_loss": -np.mean(likely * np.log(safe) + (1 - likely) * np.log(1 - safe)),
        "brier": np.mean(likely * (1 - answer) ** 2 + (1 - likely) * answer**2),
        "calibration_error": np.abs(apart).sum() / len(answer),
    }


def _regression(calibration: Calibration, answer: Array) -> dict[str, float]:
    places = np.abs(np.subtract.outer(answer, calibration.answer)).argmin(axis=1)
    bias, square = np.asarray(calibration.bias)[places], np.asarray(calibration.square)[places]
    mse = square.mean()
    mean = (answer + bias).mean()
    spread = (answer**2 + 2 * answer * bias + square).mean() - mean**2
    return {
        "rmse": np.sqrt(mse),
        "mae": np.asarray(calibration.error)[places].mean(),
        "median_absolute_error": float(np.median(np.asarray(calibration.median)[places])),
        "r2": 1 - mse / spread if spread > 0 else np.nan,
    }
