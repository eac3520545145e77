from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.monitoring import performance
from pipelines.monitoring.estimate import Calibration, calibrate, estimate
from pipelines.project import Project
from pipelines.training import metrics


def binary(rows: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, pd.Series]:
    """Overconfident answers (their log-odds are doubled), and outcomes of the true probability."""
    random = np.random.default_rng(seed)
    odds = random.normal(-1, spread, rows)
    likely = 1 / (1 + np.exp(-odds))
    return 1 / (1 + np.exp(-2 * odds)), pd.Series((random.random(rows) < likely).astype(int))


def test_the_estimate_meets_what_comes_true_although_answers_are_overconfident() -> None:
    calibration = calibrate("classification", *binary(20_000, 1))
    answer, y = binary(20_000, 2)
    estimated, real = estimate(calibration, answer), metrics.figures("classification", y, answer)
    assert set(estimated) == set(real)
    for name, value in real.items():
        assert estimated[name] == pytest.approx(value, abs=0.015), name


def test_the_estimate_follows_drift_of_the_inputs() -> None:
    """Harder cases, same world: the answers spread less, and the estimate falls as the truth does."""
    calibration = calibrate("classification", *binary(20_000, 1))
    answer, y = binary(20_000, 3, spread=0.4)
    estimated, real = estimate(calibration, answer), metrics.figures("classification", y, answer)
    assert real["roc_auc"] < 0.65
    assert estimated["roc_auc"] == pytest.approx(real["roc_auc"], abs=0.02)


def test_a_regression_is_estimated_by_the_size_of_its_answers() -> None:
    random = np.random.default_rng(4)

    def draw(low: float) -> tuple[np.ndarray, pd.Series]:
        answer = random.uniform(low, 10, 10_000)
        return answer, pd.Series(answer + 0.5 + random.normal(0, answer))

    calibration = calibrate("regression", *draw(0))
    answer, y = draw(6)
    estimated, real = estimate(calibration, answer), metrics.figures("regression", y, answer)
    for name, value in real.items():
        assert estimated[name] == pytest.approx(value, rel=0.05, abs=0.03), name


def test_one_class_only_leaves_the_ranking_undefined() -> None:
    calibration = calibrate("classification", np.array([0.1, 0.2, 0.3]), pd.Series([0, 0, 0]))
    assert set(estimate(calibration, np.array([0.1, 0.5]))) == {"log_loss", "brier", "calibration_error"}


CALIBRATION = Calibration(task="classification", answer=[0.0, 1.0], outcome=[0.0, 1.0])


def judged(project: Project, rows: int, at_training: float | None) -> performance.Performance:
    answer, y = binary(rows, 6)
    newest = pd.DataFrame({"entity_key": [str(number) for number in range(rows)], "answer": answer})
    known = newest.set_index("entity_key")["answer"]
    return performance.judge(
        project, newest, y.set_axis(known.index), known, calibration=CALIBRATION, at_training=at_training
    )


def test_performance_is_lost_only_beyond_doubt(project: Project) -> None:
    """More is lost than the .03 that may be: certain on many rows, within the band on few."""
    many, few = judged(project, 6000, 0.82), judged(project, 600, 0.82)
    for found in (many, few):
        assert found.metrics is not None
        assert found.interval is not None
        assert found.metrics["roc_auc"] < 0.82 - project.monitoring.performance_loss
        assert found.interval[0] < found.metrics["roc_auc"] < found.interval[1]
    assert (many.lost, few.lost) == (True, False)
    assert judged(project, 6000, 0.76).lost is False
    assert judged(project, 6000, None).lost is False


def test_a_metric_of_which_less_is_better_is_lost_from_the_other_side(project: Project) -> None:
    """A log loss of .52 (.47 to .58) on 600 rows, .64 (.61 to .66) on 6000; .40 at training, and .03 is allowed."""
    evaluation = project.evaluation.model_copy(update={"metric": "log_loss"})
    less = project.model_copy(update={"evaluation": evaluation})
    assert judged(less, 6000, 0.40).lost is True
    assert judged(less, 6000, 0.70).lost is False
    few = judged(less, 600, 0.47)
    assert few.metrics is not None
    assert few.metrics["log_loss"] > 0.47 + project.monitoring.performance_loss
    assert few.lost is False


def test_too_few_outcomes_say_nothing(project: Project) -> None:
    found = judged(project, 400, 0.8)
    assert (found.labelled, found.metrics, found.interval, found.estimated, found.lost) == (
        400,
        None,
        None,
        None,
        False,
    )
