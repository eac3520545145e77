from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.project import METRICS
from pipelines.training import metrics


def test_calibration_error_is_the_distance_from_what_happened() -> None:
    probability = np.array([0.25] * 4 + [0.85] * 4)
    perfect = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    assert metrics.calibration_error(perfect, probability) == pytest.approx(0.05)
    assert metrics.calibration_error(np.zeros(8, dtype=int), probability) == pytest.approx(0.55)
    assert metrics.calibration_error(np.ones(2, dtype=int), np.array([1.0, 1.0])) == 0


def test_figures_of_a_perfect_and_a_blind_model() -> None:
    y = pd.Series([0, 1, 0, 1])
    perfect = metrics.figures("classification", y, np.array([0.0, 1.0, 0.0, 1.0]))
    blind = metrics.figures("classification", y, np.full(4, 0.5))
    assert set(perfect) == set(METRICS["classification"])
    assert (perfect["roc_auc"], perfect["brier"], blind["roc_auc"], blind["brier"]) == (1, 0, 0.5, 0.25)


def test_slices_cover_missing_values_and_single_classes() -> None:
    x = pd.DataFrame({"country": ["de", "de", None, None]})
    table = metrics.slices("classification", x, pd.Series([0, 1, 1, 1]), np.array([0.2, 0.8, 0.7, 0.6]), ["country"])
    assert table["value"].tolist() == ["(missing)", "de"]
    assert table["rows"].tolist() == [2, 2]
    assert table["observed"].tolist() == [1, 0.5]
    assert table["predicted"].tolist() == pytest.approx([0.65, 0.5])
    assert table["roc_auc"].isna().tolist() == [True, False]
    assert table["brier"].tolist() == pytest.approx([(0.09 + 0.16) / 2, 0.04])


def test_figures_of_values() -> None:
    y = pd.Series([1.0, 2.0, 3.0, 6.0])
    found = metrics.figures("regression", y, np.array([1.0, 2.0, 4.0, 4.0]))
    assert set(found) == set(METRICS["regression"])
    assert found["rmse"] == pytest.approx(np.sqrt(5 / 4))
    assert (found["mae"], found["median_absolute_error"]) == (0.75, 0.5)
    assert found["r2"] == pytest.approx(1 - 5 / 14)
    assert np.isnan(metrics.figure("r2", pd.Series([2.0, 2.0]), np.array([1.0, 3.0])))


@pytest.mark.parametrize(
    ("metric", "loss", "reached"),
    [("roc_auc", 0.1, False), ("r2", 0.1, False), ("rmse", -0.1, True), ("mae", -0.1, True), ("log_loss", -0.1, True)],
)
def test_less_is_better_where_it_measures_an_error(metric: str, loss: float, reached: bool) -> None:
    assert metrics.loss_against(metric, 0.6, 0.7) == pytest.approx(loss)
    assert metrics.reaches(metric, 0.6, 0.65) == reached
    assert metrics.reaches(metric, 0.65, 0.65)
