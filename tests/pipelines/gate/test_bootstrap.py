from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn

from pipelines.gate import bootstrap
from pipelines.gate.bootstrap import interval, loss_interval
from pipelines.gate.weighted import statistic
from pipelines.project import METRICS, Metric, Task
from pipelines.training.metrics import Array, calibration_error

HOW = {"rounds": 200, "confidence": 0.95, "seed": 5}
SKLEARN = {
    "roc_auc": sklearn.roc_auc_score,
    "average_precision": sklearn.average_precision_score,
    "log_loss": sklearn.log_loss,
    "brier": sklearn.brier_score_loss,
    "calibration_error": calibration_error,
    "rmse": sklearn.root_mean_squared_error,
    "mae": sklearn.mean_absolute_error,
    "median_absolute_error": sklearn.median_absolute_error,
    "r2": sklearn.r2_score,
}
EACH: list[tuple[Task, Metric]] = [(task, metric) for task, names in METRICS.items() for metric in names]


def rows_of(task: Task, rows: int, seed: int = 0, noise: float = 1.0) -> tuple[Array, Array]:
    """(y, answer); the answers have ties, as those of trees have."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=rows)
    guess = np.round(signal + noise * random.normal(size=rows), 1)
    if task == "regression":
        return signal, guess
    return (signal + random.normal(size=rows) > 0.5).astype(float), np.round(1 / (1 + np.exp(-guess)), 3)


@pytest.mark.parametrize(("task", "metric"), EACH)
@pytest.mark.parametrize("rows", [101, 400])
def test_counts_give_what_scikit_learn_gives_for_the_drawn_rows(task: Task, metric: Metric, rows: int) -> None:
    y, answer = rows_of(task, rows)
    drawn = np.random.default_rng(1).integers(rows, size=(3, rows))
    counts = np.stack([np.bincount(row, minlength=rows) for row in drawn]).astype(float)
    expected = [SKLEARN[metric](y[row], answer[row]) for row in drawn]
    assert statistic(metric, y, answer)(counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("task", "metric"), EACH)
def test_an_interval_holds_the_value_and_narrows_with_rows(task: Task, metric: Metric) -> None:
    widths = []
    for rows in (200, 5000):
        y, answer = rows_of(task, rows)
        found = interval(task, metric, pd.Series(y), answer, **HOW)
        assert found.value == pytest.approx(SKLEARN[metric](y, answer), abs=1e-12)
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert 0 < widths[1] < widths[0] / 2


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """150 windows of 400 rows against the value of 200,000: 95 % give or take what chance explains."""
    truth = sklearn.roc_auc_score(*rows_of("classification", 200_000, seed=1))
    samples = [rows_of("classification", 400, seed=seed) for seed in range(2, 152)]
    found = [interval("classification", "roc_auc", y, answer, **HOW) for y, answer in samples]
    assert 0.89 <= np.mean([low <= truth <= high for low, _, high in found]) <= 0.99


def test_a_loss_is_positive_for_a_worse_model_whichever_way_the_metric_goes() -> None:
    for task, metric in EACH:
        y, good = rows_of(task, 3000, noise=0.3)
        _, bad = rows_of(task, 3000, noise=2.0)
        worse = loss_interval(task, metric, y, bad, good, **HOW)
        better = loss_interval(task, metric, y, good, bad, **HOW)
        assert worse.value == pytest.approx(abs(SKLEARN[metric](y, bad) - SKLEARN[metric](y, good)), abs=1e-12)
        assert worse.low > 0 > better.high, metric


def test_a_loss_is_measured_on_the_same_resamples() -> None:
    y, champion = rows_of("classification", 500)
    same = loss_interval("classification", "brier", y, champion, champion, **HOW)
    assert same == (0, 0, 0)
    nearly = np.clip(champion + 0.001, 0, 1)
    loss = loss_interval("classification", "brier", y, nearly, champion, **HOW)
    alone = interval("classification", "brier", y, champion, **HOW)
    assert loss.high - loss.low < (alone.high - alone.low) / 10


def test_the_same_seed_gives_the_same_interval_in_any_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    y, answer = rows_of("classification", 300)
    whole = interval("classification", "roc_auc", y, answer, **HOW)
    monkeypatch.setattr(bootstrap, "CELLS", 900)
    assert interval("classification", "roc_auc", y, answer, **HOW) == pytest.approx(whole)
    assert interval("classification", "roc_auc", y, answer, **{**HOW, "seed": 6}) != pytest.approx(whole)


@pytest.mark.parametrize("y", [np.ones(50), np.zeros(0)])
def test_what_cannot_be_measured_is_not_a_number(y: Array) -> None:
    assert np.isnan(interval("classification", "roc_auc", y, np.full(len(y), 0.5), **HOW)).all()


def test_a_metric_of_the_other_task_is_refused() -> None:
    with pytest.raises(ValueError, match="rmse is no metric of a classification"):
        interval("classification", "rmse", np.ones(5), np.ones(5), **HOW)


def test_what_resampling_adds_to_a_calibration_error_is_taken_off() -> None:
    """A resample looks less calibrated than the rows: plain percentiles would put the bounds too high."""
    random = np.random.default_rng(0)
    answer = random.random(600)
    y = (random.random(600) < answer).astype(float)
    _, value, high = interval("classification", "calibration_error", y, answer, **HOW)
    assert high < 1.5 * value
