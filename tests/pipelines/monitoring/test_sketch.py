from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.monitoring import baseline, sketch, stream
from pipelines.monitoring.sketch import CategoryBins, NumberBins, bins_of
from pipelines.monitoring.stream import Part
from pipelines.monitoring.window import cut
from pipelines.project import Project


def numbers(*values: float | None) -> pa.Array:
    return pa.array(values, type=pa.float64())


def test_numbers_are_binned_at_their_deciles() -> None:
    bins = bins_of(pa.array(np.arange(1000.0)), "number")
    assert isinstance(bins, NumberBins)
    assert bins.edges == [100.0 * place for place in range(1, 10)]
    assert bins.fold(pa.array(np.arange(1000.0))).counts == [100] * 10 + [0]


def test_a_frequent_value_has_a_bin_of_its_own() -> None:
    """No rain, most of the time: that it rains more often now must show."""
    dry = np.concatenate([np.zeros(900), np.linspace(0.1, 1, 100)])
    bins = bins_of(pa.array(dry), "number")
    wet = bins.fold(pa.array(np.concatenate([np.zeros(500), np.full(500, 0.05)])))
    assert [count for count in wet.counts if count] == [500, 500]
    assert [count for count in bins.fold(pa.array(dry)).counts if count] == [900, 100]


def test_few_values_have_a_bin_each_and_missing_ones_too() -> None:
    bins = bins_of(pa.array([1, 2, 2, 3]), "integer")
    found = bins.fold(numbers(1, 2, 3, 3, None, float("nan")))
    assert [count for count in found.counts[:-1] if count] == [1, 1, 2]
    assert (found.rows, found.missing, found.outside) == (6, 2, 0)


def test_a_constant_that_changes_leaves_its_bin() -> None:
    bins = bins_of(numbers(5, 5, 5), "number")
    same, other = bins.fold(numbers(5, 5)), bins.fold(numbers(6, 4))
    assert max(same.counts) == 2
    assert max(other.counts) == 1
    assert (same.outside, other.outside) == (0, 2)


def test_numbers_out_of_the_range_of_training_are_counted() -> None:
    bins = bins_of(numbers(0, 10), "number")
    assert bins.fold(numbers(-1, 0, 5, 10, 11, float("inf"), None)).outside == 3
    empty = bins_of(numbers(None, None), "number")
    assert empty.fold(numbers(1, None)).model_dump()["counts"] == [1, 1]
    assert empty.fold(numbers(1, None)).outside == 1


def test_booleans_count_as_two_values() -> None:
    bins = bins_of(pa.array([1.0, 0.0, 0.0]), "boolean")
    assert [count for count in bins.fold(pa.array([True, False, False, None])).counts if count] == [2, 1, 1]


def test_categories_are_counted_by_name_and_new_ones_named() -> None:
    bins = bins_of(pa.array(["de", "de", "fr", None]), "category")
    assert isinstance(bins, CategoryBins)
    found = bins.fold(pa.array(["fr", "de", "at", "at", None]))
    assert (bins.names, found.counts, found.outside, found.unseen) == (["de", "fr"], [1, 1, 2, 1], 2, {"at": 2})


def test_rare_categories_share_a_bin_and_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch, "TOP_CATEGORIES", 1)
    bins = bins_of(pa.array(["a", "a", "b", "c"]), "category")
    found = bins.fold(pa.array(["b", "x", "a"]))
    assert (found.counts, found.unseen) == ([1, 2, 0], {"x": 1})
    monkeypatch.setattr(sketch, "KNOWN_CATEGORIES", 2)
    many = bins_of(pa.array(["a", "a", "b", "c"]), "category")
    assert many.fold(pa.array(["c", "x"])).outside == 0, "with names that were not kept, none can be called new"


def test_sketches_of_parts_add_up_to_that_of_the_whole() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=1000)
    names = random.choice(np.array(["a", "b", "c", "new"]), 1000)
    bins = {"x": bins_of(pa.array(values[:500]), "number"), "y": CategoryBins(names=["a", "b"], rest=["c"])}
    rows = pa.table({"x": values, "y": names})
    parts = [sketch.fold(bins, rows.slice(start, 137)) for start in range(0, 1000, 137)]
    assert sketch.add(parts) == sketch.fold(bins, rows)


def test_a_column_that_is_not_there_is_missing_in_every_row() -> None:
    bins = {"x": bins_of(numbers(1, 2), "number"), "y": CategoryBins(names=["a"], rest=[])}
    found = sketch.fold(bins, pa.table({"z": [1, 2, 3]}))
    assert [(its.rows, its.missing) for its in found.values()] == [(3, 3), (3, 3)]


def test_the_baseline_is_read_as_it_was_written(project: Project, tmp_path: Path) -> None:
    x = pd.DataFrame({"country": ["de", None, "fr"] * 50, "price": np.arange(150.0), "items": [1, 2, 3] * 50})
    answer = np.linspace(0, 1, 150)
    baseline.write(tmp_path, project, x, answer, pd.Series((answer > 0.5).astype(int)))
    made = baseline.make(project, x, answer, pd.Series((answer > 0.5).astype(int)))
    read = baseline.Content.model_validate_json((tmp_path / "baseline.json").read_bytes())
    assert read.columns == made.columns
    assert list(read.columns) == ["country", "price", "items", "predicted_probability"]
    assert read.columns["country"].sketch.missing == 50
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 10_000


def test_a_regression_has_a_baseline_too(project: Project) -> None:
    values = project.model_copy(update={"task": "regression"})
    x = pd.DataFrame({"country": ["de"] * 100, "price": np.arange(100.0), "items": [1] * 100})
    made = baseline.make(values, x, np.arange(100.0), pd.Series(np.arange(100.0) + 1))
    assert made.answer == "predicted_value"
    assert made.columns["predicted_value"].sketch.counts == [10] * 10 + [0]
    assert (made.calibration.task, made.calibration.bias) == ("regression", [1.0, 1.0])


def part(*at: int) -> Part:
    return Part(np.array(at), pa.table({"x": [float(moment) for moment in at]}), {})


def pieces(*parts: Part, size: int) -> list[tuple[int, int, int]]:
    """(first moment, last moment, rows) of each piece."""
    bins = {"x": bins_of(numbers(1, 2), "number")}
    found = []
    for piece in cut(parts, bins, size):
        assert piece.columns["x"].rows == piece.rows
        moments = [round(moment.timestamp() * 1_000_000) for moment in (piece.starts_at, piece.ends_at)]
        found.append((*moments, piece.rows))
    return found


def test_pieces_are_cut_between_moments() -> None:
    assert pieces(part(1, 2, 3, 4, 5), size=2) == [(1, 2, 2), (3, 4, 2), (5, 5, 1)]
    assert pieces(part(1, 2, 2, 2, 3), size=2) == [(1, 2, 4), (3, 3, 1)]
    assert pieces(part(1, 2), part(2, 2, 3), part(3), size=2) == [(1, 2, 4), (3, 3, 2)]
    assert pieces(part(1), part(2), part(3), size=9) == [(1, 3, 3)]
    assert pieces(size=9) == []


def test_what_was_asked_is_read_from_its_lines() -> None:
    kinds = {"country": "category", "price": "number", "new": "boolean", "p": "number"}
    rows = [
        {"at": 5, "answer": 0.5, "features": {"country": 'a"\\é', "price": 1, "new": True, "other": [1]}},
        {"at": 6, "answer": None, "features": {"country": None, "price": 2.5}},
    ]
    lines = [json.dumps(row).replace("\\", "\\\\").encode() + b"\n" for row in rows]
    found = stream.parse(lines, kinds, "p")
    assert found.at.tolist() == [5, 6]
    assert found.rows.to_pylist() == [
        {"country": 'a"\\é', "price": 1.0, "new": True, "p": 0.5},
        {"country": None, "price": 2.5, "new": None, "p": None},
    ]
    assert not found.mistyped


def test_a_value_of_another_type_is_missing_and_counted() -> None:
    kinds = {"country": "category", "price": "number", "p": "number"}
    rows = [{"at": 1, "answer": 0.5, "features": {"country": 7, "price": "dear"}}]
    rows += [{"at": 2, "answer": 0.5, "features": {"country": "de", "price": True}}]
    found = stream.parse([json.dumps(row).encode() + b"\n" for row in rows], kinds, "p")
    assert [(row["country"], row["price"]) for row in found.rows.to_pylist()] == [(None, None), ("de", None)]
    assert found.mistyped == {"country": 1, "price": 2}
    [piece] = cut([found], {"price": bins_of(numbers(1, 2), "number")}, 10)
    assert (piece.columns["price"].mistyped, piece.columns["price"].missing) == (2, 2)
