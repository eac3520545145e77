from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.data.dataset import Snapshot, Window, split_by_time
from pipelines.gate import checks
from pipelines.gate.checks import Gaps, gaps, latency_ms, with_gaps
from pipelines.gate.figures import Evidence, measure, slices
from pipelines.models.scoring import predict
from pipelines.project import Project, load_project
from pipelines.training.entry_point import build_model

DECLARED = "  max_loss: 0.01\n"
WITH_GAPS = DECLARED + "  missing_values: {share: 0.5, max_loss: 0.1}\n"


@pytest.fixture
def test(snapshot: Snapshot, project: Project) -> Window:
    return split_by_time(snapshot, project)[1]


@pytest.fixture
def model(snapshot: Snapshot, project: Project) -> Any:
    train, _ = split_by_time(snapshot, project)
    return build_model(project).fit(train.x, train.y)


class Fragile:
    """A classifier that knows nothing of missing values."""

    def predict_proba(self, x: pd.DataFrame) -> Any:
        if x.isna().any().any():
            raise ValueError("Input X contains NaN\nand much more")
        return np.tile([0.5, 0.5], (len(x), 1))


def test_the_share_of_values_is_taken_away_in_the_models_types(test: Window) -> None:
    x = test.x.assign(gift=True)
    found = with_gaps(x, 0.25, seed=1)
    taken = found.isna() & ~x.isna()
    assert taken.mean().mean() == pytest.approx(0.25, abs=0.08)
    assert [str(kind) for kind in found.dtypes] == ["object", "float64", "float64", "float64"]
    assert found["country"].map(type).isin([str, type(None)]).all(), "a category is a string or None"
    kept = found["price"].notna()
    assert found["price"][kept].equals(x["price"][kept])
    assert with_gaps(x, 0.25, seed=1).equals(found)


def test_missing_values_cost_what_they_cost(
    test: Window, model: Any, repo: Any, declare: Callable[[str, str], None]
) -> None:
    declare(DECLARED, WITH_GAPS)
    project = load_project(repo, "shop")
    value = measure(project, test, predict(model, test.x, "here"), None)["roc_auc"].candidate.value
    found = gaps(project, model, test, value, "here")
    assert found is not None
    assert found.loss is not None
    assert found.loss > 0.1, "half of the prices are gone, and only they tell"


def test_a_model_that_cannot_take_missing_values_says_so(
    test: Window, repo: Any, declare: Callable[[str, str], None]
) -> None:
    declare(DECLARED, WITH_GAPS)
    told = gaps(load_project(repo, "shop"), Fragile(), test, 0.7, "here")
    assert told == Gaps(0.5, None, "ValueError: Input X contains NaN")


def test_missing_values_are_only_tried_when_declared(test: Window, project: Project) -> None:
    assert gaps(project, Fragile(), test, 0.7, "here") is None


def test_the_latency_is_the_median_of_single_rows(test: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    class Slow:
        def predict_proba(self, x: pd.DataFrame) -> Any:
            rows.append(len(x))
            clock.now += 9.0 if len(rows) % 5 == 0 else 0.004
            return np.tile([0.5, 0.5], (len(x), 1))

    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(checks, "time", clock)
    assert latency_ms(Slow(), test.x, "here") == pytest.approx(4.0)
    assert set(rows) == {1}


def test_slices_are_measured_where_there_are_rows_enough(
    test: Window, model: Any, repo: Any, declare: Callable[[str, str], None]
) -> None:
    declare("slices: [country]", "slices: [country]\n  slice_minimum_rows: 30\n  bootstrap: 20")
    project = load_project(repo, "shop")
    x = test.x.assign(country=np.where(np.arange(len(test.x)) < 29, None, test.x["country"].fillna("de")))
    window = Window(x, test.y, test.rows, test.start, test.end)
    answer = predict(model, test.x, "here")
    found = {part.value: part for part in slices(project, window, answer, np.full(len(answer), 0.5))}
    assert set(found) == {"(missing)", "de", "fr"}
    assert (found["(missing)"].rows, found["(missing)"].measured) == (29, None)
    for value in ("de", "fr"):
        measured = found[value].measured
        assert measured is not None
        assert measured.champion is not None
        assert measured.champion.value == 0.5
        expected = measure(project, test, answer, None)["roc_auc"].candidate.value
        assert measured.candidate.value == pytest.approx(expected, abs=0.15)


def test_evidence_is_json_without_nan(test: Window, project: Project) -> None:
    single = Window(test.x, pd.Series(1, index=test.y.index), test.rows, test.start, test.end)
    evidence = Evidence(len(test.y), measure(project, single, np.full(len(test.y), 0.5), None))
    found = evidence.as_json()["metrics"]
    assert found["roc_auc"]["candidate"] == {"low": None, "value": None, "high": None}
    assert found["brier"]["candidate"]["value"] == 0.25
    assert found["brier"]["champion"] is None
