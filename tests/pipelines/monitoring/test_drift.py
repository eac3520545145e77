from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.spatial.distance import jensenshannon

from pipelines.monitoring import deep_report, drift, sketch
from pipelines.monitoring.baseline import Column
from pipelines.monitoring.sketch import NumberBins, Sketch, bins_of
from pipelines.project import Drift, DriftMethod

KINDS = {"country": "category", "price": "number", "items": "integer"}


def frame(seed: int, rows: int = 2000, price: float = 50.0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "country": random.choice(np.array(["de", "fr"]), rows),
            "price": random.normal(price, 10, rows),
            "items": random.integers(1, 5, rows),
        }
    )


def compare(before: pd.DataFrame, now: pd.DataFrame, rules: Drift | None = None) -> drift.DriftResult:
    table = sketch.arrow(before, KINDS)
    columns = {}
    for name, kind in KINDS.items():
        bins = bins_of(table.column(name), kind)
        columns[name] = Column(type=kind, bins=bins, sketch=bins.fold(table.column(name)))
    window = sketch.fold({name: column.bins for name, column in columns.items()}, sketch.arrow(now, KINDS))
    return drift.compare(columns, window, rules or Drift())


def test_the_same_distribution_has_not_drifted() -> None:
    found = compare(frame(1), frame(2))
    assert (found.drifted, found.share) == ([], 0)


def test_a_shift_and_new_categories_are_drift_of_those_columns() -> None:
    found = compare(frame(1), frame(2, price=70).assign(country="it"))
    assert found.drifted == ["country", "price"]
    assert found.share == pytest.approx(2 / 3)
    country, price, items = found.columns
    assert (country.outside_share, country.unseen) == (1.0, ["it"])
    assert price.outside_share > 0
    assert items.outside_share == 0


def test_a_column_that_lost_its_values_has_drifted() -> None:
    found = {item.column: item for item in compare(frame(1), frame(2).assign(price=np.nan)).columns}
    assert (found["price"].drifted, found["price"].missing_share) == (True, 1.0)
    never = frame(1).assign(price=np.nan)
    assert compare(never, never).drifted == []


def test_the_distances_are_those_of_the_textbook() -> None:
    before, now = np.array([3000, 5000, 2000]), np.array([2000, 5000, 3000])
    p, q = before / before.sum(), now / now.sum()
    assert drift.distance("psi", before, now, 0.01).value == pytest.approx(((q - p) * np.log(q / p)).sum(), rel=1e-3)
    assert drift.distance("jensenshannon", before, now, 0.01).value == pytest.approx(jensenshannon(p, q), rel=1e-3)


@pytest.mark.parametrize("method", ["psi", "jensenshannon"])
@pytest.mark.parametrize("rows", [300, 5000])
def test_chance_passes_its_threshold_as_often_as_it_may(method: DriftMethod, rows: int) -> None:
    """Of 4000 columns that have not drifted about 5 % pass; with rare values and against a baseline of its own size."""
    random = np.random.default_rng(5)
    shares = np.array([0.3, 0.3, 0.2, 0.15, 0.04, 0.006, 0.003, 0.001])
    passed = 0
    for _ in range(4000):
        before, now = random.multinomial(rows, shares), random.multinomial(rows, shares)
        found = drift.distance(method, before, now, 0.05)
        passed += found.value > found.chance
    assert 0.03 < passed / 4000 < 0.065


def test_a_look_at_many_columns_alarms_no_more_often_than_declared() -> None:
    """Of 300 looks at 20 columns that have not drifted some 15 alarm, not the 190 of 20 tests of 5 % each."""
    random = np.random.default_rng(6)
    least = {"method": "psi", "threshold": 1e-9}
    rules = Drift.model_validate({"number": least, "category": least, "false_alarms": 0.05})
    bins = NumberBins(edges=[float(edge) for edge in range(9)], low=0, high=9)
    alarms = 0
    for _ in range(300):
        counts = random.multinomial(2000, np.full(10, 0.1), (2, 20))
        sides = [[Sketch(counts=[*row, 0]) for row in side.tolist()] for side in counts]
        columns = {str(place): Column(type="number", bins=bins, sketch=its) for place, its in enumerate(sides[0])}
        found = drift.compare(columns, {str(place): its for place, its in enumerate(sides[1])}, rules)
        alarms += bool(found.drifted)
    assert 3 < alarms < 30


def test_few_rows_need_a_larger_distance() -> None:
    """With a strict threshold, a hundred rows of the same kind would be called drift without the correction."""
    strict = Drift.model_validate({"number": {"method": "psi", "threshold": 0.02}})
    few = {item.column: item for item in compare(frame(1), frame(2, rows=100), strict).columns}
    assert few["price"].score > 0.02
    assert few["price"].threshold > few["price"].score
    many = {item.column: item for item in compare(frame(1, 100_000), frame(2, 100_000), strict).columns}
    assert many["price"].threshold == 0.02


def test_a_total_shift_shows_in_thirty_rows() -> None:
    found = compare(frame(1), frame(2, rows=30, price=200))
    assert found.drifted == ["price"]


def test_the_deep_report_is_two_pages(tmp_path: Path) -> None:
    deep_report.write(frame(1), frame(2).assign(items=np.nan), KINDS, Drift(), tmp_path)
    for name in deep_report.PAGES:
        assert "<html" in (tmp_path / name).read_text()[:500].lower()


def test_arrow_takes_what_the_models_take() -> None:
    rows = pd.DataFrame({"country": ["de", None], "price": [1, 2], "new": [True, False]})
    table = sketch.arrow(rows, {"country": "category", "price": "integer", "new": "boolean"})
    assert table.to_pydict() == {"country": ["de", None], "price": [1.0, 2.0], "new": [1.0, 0.0]}
    assert table.schema.field("country").type == pa.string()
