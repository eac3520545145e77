from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.gate.judgement import judge
from pipelines.project import Evaluation
from pipelines.training import metrics


def test_calibration_error_is_the_distance_from_what_happened() -> None:
    probability = np.array([0.25] * 4 + [0.85] * 4)
    perfect = np.array([1, 0, 0, 0, 1, 1, 1, 0])
    assert metrics.calibration_error(perfect, probability) == pytest.approx(0.05)
    assert metrics.calibration_error(np.zeros(8, dtype=int), probability) == pytest.approx(0.55)
    assert metrics.calibration_error(np.ones(2, dtype=int), np.array([1.0, 1.0])) == 0


def test_figures_of_a_perfect_and_a_blind_model() -> None:
    y = pd.Series([0, 1, 0, 1])
    perfect = metrics.figures(y, np.array([0.0, 1.0, 0.0, 1.0]))
    blind = metrics.figures(y, np.full(4, 0.5))
    assert set(perfect) == set(metrics.NAMES)
    assert (perfect["roc_auc"], perfect["brier"], blind["roc_auc"], blind["brier"]) == (1, 0, 0.5, 0.25)


def test_slices_cover_missing_values_and_single_classes() -> None:
    x = pd.DataFrame({"country": ["de", "de", None, None]})
    table = metrics.slices(x, pd.Series([0, 1, 1, 1]), np.array([0.2, 0.8, 0.7, 0.6]), ["country"])
    assert table["value"].tolist() == ["(missing)", "de"]
    assert table["rows"].tolist() == [2, 2]
    assert table["roc_auc"].isna().tolist() == [True, False]


RULES = Evaluation(metric="roc_auc", minimum=0.6, max_loss=0.01)
ERRORS = Evaluation(metric="brier", minimum=0.2, max_loss=0.01)


@pytest.mark.parametrize(
    ("rules", "candidate", "champion", "reasons"),
    [
        (RULES, 0.6, None, 0),
        (RULES, 0.59, None, 1),
        (RULES, 0.7, 0.705, 0),
        (RULES, 0.7, 0.72, 1),
        (RULES, 0.5, 0.72, 2),
        (ERRORS, 0.19, None, 0),
        (ERRORS, 0.21, None, 1),
        (ERRORS, 0.19, 0.17, 1),
        (ERRORS, 0.17, 0.19, 0),
    ],
)
def test_the_gate(rules: Evaluation, candidate: float, champion: float | None, reasons: int) -> None:
    verdict = judge(rules, {rules.metric: candidate}, None if champion is None else {rules.metric: champion})
    assert len(verdict.reasons) == reasons
    assert verdict.passed == (reasons == 0)
    assert str(verdict).startswith("refused: " if reasons else "passed")


def test_a_refusal_gives_the_numbers() -> None:
    assert str(judge(RULES, {"roc_auc": 0.65}, {"roc_auc": 0.7})) == (
        "refused: roc_auc 0.6500 is 0.0500 worse than the champion's 0.7000 (allowed: 0.01)"
    )
