from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipelines.gate.bootstrap import Interval
from pipelines.gate.checks import Gaps
from pipelines.gate.figures import Evidence, Measured, Slice
from pipelines.gate.judgement import judge
from pipelines.project import Evaluation, Metric, MissingValues
from pipelines.training.metrics import loss_against


def around(value: float, width: float = 0.02) -> Interval:
    return Interval(value - width, value, value + width)


def measured(metric: Metric, candidate: float, champion: float | None = None) -> Measured:
    if champion is None:
        return Measured(around(candidate))
    return Measured(around(candidate), around(champion), around(loss_against(metric, candidate, champion)))


def rules(metric: Metric = "roc_auc", minimum: float = 0.6, **more: object) -> Evaluation:
    return Evaluation.model_validate({"metric": metric, "minimum": minimum, "max_loss": 0.01} | more)


GOOD = {"roc_auc": measured("roc_auc", 0.7, 0.7), "calibration_error": measured("calibration_error", 0.03)}


@pytest.mark.parametrize(
    ("metric", "minimum", "candidate", "champion", "reasons"),
    [
        ("roc_auc", 0.6, 0.6, None, 0),
        ("roc_auc", 0.6, 0.59, None, 1),
        ("roc_auc", 0.6, 0.7, 0.705, 0),
        ("roc_auc", 0.6, 0.7, 0.72, 1),
        ("roc_auc", 0.6, 0.5, 0.72, 2),
        ("brier", 0.2, 0.19, None, 0),
        ("brier", 0.2, 0.21, None, 1),
        ("brier", 0.2, 0.19, 0.17, 1),
        ("brier", 0.2, 0.17, 0.19, 0),
        ("rmse", 12.0, 11.0, 11.5, 0),
        ("rmse", 12.0, 13.0, 11.5, 2),
        ("r2", 0.5, 0.4, 0.39, 1),
    ],
)
def test_the_metric_and_the_champion(
    metric: Metric, minimum: float, candidate: float, champion: float | None, reasons: int
) -> None:
    verdict = judge(rules(metric, minimum), Evidence(100, {metric: measured(metric, candidate, champion)}))
    assert len(verdict.reasons) == reasons
    assert verdict.passed == (reasons == 0)
    assert str(verdict).startswith("refused: " if reasons else "passed")


def test_a_refusal_gives_the_numbers() -> None:
    assert str(judge(rules(), Evidence(100, {"roc_auc": measured("roc_auc", 0.65, 0.7)}))) == (
        "refused: roc_auc 0.6500 is 0.0500 (0.0300 to 0.0700) worse than the champion's 0.7000 (allowed: 0.01)"
    )


@pytest.mark.parametrize(("loss", "refused"), [(0.07, False), (0.13, True), (-0.2, False)])
def test_a_slice_refuses_only_beyond_doubt(loss: float, refused: bool) -> None:
    part = Slice("country", "de", 250, Measured(around(0.7), around(0.7 + loss), around(loss, width=0.05)))
    evidence = Evidence(1000, dict(GOOD), slices=[part, Slice("country", "fr", 3, None)])
    reasons = judge(rules(slice_max_loss=0.05), evidence).reasons
    assert [reason.startswith("slice country = de: ") for reason in reasons] == [True] * refused
    assert judge(rules(), evidence).passed, "slices are not looked at without the rule"


@pytest.mark.parametrize(
    ("rule", "worse", "named"),
    [
        ({"max_calibration_error": 0.05}, lambda: {"metrics": bad_calibration()}, "calibration error 0.0800"),
        ({"max_latency_ms": 20.0}, lambda: {"latency_ms": 21.0}, "latency: a single row takes 21.0 ms"),
        ({"missing_values": {"max_loss": 0.1}}, lambda: {"gaps": Gaps(0.1, 0.2, None)}, "missing values: with 10%"),
        ({"missing_values": {"max_loss": 0.1}}, lambda: {"gaps": Gaps(0.1, None, "NaN")}, "cannot answer: NaN"),
        ({}, lambda: {"schema": ["schema: price"]}, "schema: price"),
    ],
)
def test_each_rule_refuses_and_is_named(
    rule: dict[str, object], worse: Callable[[], dict[str, object]], named: str
) -> None:
    fine = {"rows": 100, "metrics": dict(GOOD), "latency_ms": 5.0, "gaps": Gaps(0.1, 0.05, None)}
    assert judge(rules(**rule), Evidence(**fine)).passed  # type: ignore[arg-type]
    (reason,) = judge(rules(**rule), Evidence(**fine | worse())).reasons  # type: ignore[arg-type]
    assert named in reason
    if rule:
        assert judge(rules(), Evidence(**fine | worse())).passed, "not looked at without the rule"  # type: ignore[arg-type]


def bad_calibration() -> dict[str, Measured]:
    return GOOD | {"calibration_error": measured("calibration_error", 0.08)}


def test_all_reasons_are_collected() -> None:
    strict = rules(
        minimum=0.9,
        max_latency_ms=1.0,
        max_calibration_error=0.01,
        missing_values=MissingValues(max_loss=0.01).model_dump(),
    )
    evidence = Evidence(100, dict(GOOD), latency_ms=5.0, gaps=Gaps(0.1, 0.2, None), schema=["schema: x"])
    assert len(judge(strict, evidence).reasons) == 5


def test_what_is_not_a_number_never_passes() -> None:
    nothing = Interval(np.nan, np.nan, np.nan)
    assert not judge(rules(), Evidence(100, {"roc_auc": Measured(nothing)})).passed
    unknown_loss = Measured(around(0.7), around(0.7), nothing)
    assert "worse than the champion's" in str(judge(rules(), Evidence(100, {"roc_auc": unknown_loss})))
