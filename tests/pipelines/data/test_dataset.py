from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.data.dataset import Snapshot, features_of, split_by_time, validation_split
from pipelines.data.dataset import test_start as first_of_test
from pipelines.data.mart import columns
from pipelines.data.snapshot import schema, write_parquet
from pipelines.errors import StepError
from pipelines.project import Project, Split, load_project

HEADER = "order_id,ordered_at,is_returned,country,price,items\n"
LINES = [
    "o1,2024-01-01 10:00:00,0,de,1.5,1\n",
    'o2,2024-01-02 10:00:00,1,"",0.1,\n',
    "o3,2024-02-01 10:00:00,0,,,3\n",
]


def write(tmp_path: Path, project: Project, lines: list[str]) -> tuple[bytes, tuple[int, str, str]]:
    text, file = tmp_path / "rows.csv", tmp_path / "rows.parquet"
    text.write_text(HEADER + "".join(lines))
    told = write_parquet(text, file, project)
    return file.read_bytes(), told


def test_the_same_rows_make_the_same_snapshot(tmp_path: Path, project: Project) -> None:
    first, told = write(tmp_path, project, LINES)
    again, _ = write(tmp_path, project, LINES)
    other, _ = write(tmp_path, project, LINES[:2])
    assert first == again != other
    assert told == (3, "2024-01-01T10:00:00", "2024-02-01T10:00:00")


def test_a_snapshot_keeps_types_and_missing_values(tmp_path: Path, project: Project) -> None:
    write(tmp_path, project, LINES)
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    assert rows["country"].tolist() == ["de", "", None]
    assert rows["price"].isna().tolist() == [False, False, True]
    assert rows["ordered_at"].dtype.kind == "M"
    assert rows["is_returned"].tolist() == [0, 1, 0]


def test_a_mart_without_rows_makes_an_empty_snapshot(tmp_path: Path, project: Project) -> None:
    _, told = write(tmp_path, project, [])
    assert told == (0, "", "")


@pytest.mark.parametrize(
    ("split", "start"),
    [
        (Split(test_days=1), "2024-03-15"),
        (Split(test_days=10), "2024-03-06"),
        (Split(test_months=1), "2024-03-01"),
        (Split(test_months=3), "2024-01-01"),
    ],
)
def test_the_test_window_starts_at_midnight(split: Split, start: str) -> None:
    times = pd.Series(pd.to_datetime(["2024-01-05 08:00", "2024-03-15 23:00"]))
    assert first_of_test(times, split) == pd.Timestamp(start)


def test_the_split_lets_nothing_of_the_test_window_into_training(snapshot: Snapshot, project: Project) -> None:
    train, test = split_by_time(snapshot, project)
    assert train.end < pd.Timestamp("2024-01-31") <= test.start
    assert len(train.y) + len(test.y) == len(snapshot.rows)
    assert list(train.x.columns) == ["country", "price", "items"]


def test_features_have_the_types_a_model_takes(rows: pd.DataFrame, project: Project) -> None:
    x = features_of(rows, project)
    assert [str(kind) for kind in x.dtypes] == ["object", "float64", "int64"]
    assert set(x["country"]) == {"de", "fr", None}
    nullable = project.model_copy(update={"data": project.data.model_copy(update={"nullable": ["items"]})})
    assert str(features_of(rows, nullable)["items"].dtype) == "float64", "whether or not one is missing this time"
    rows["items"] = rows["items"].astype("Int64").mask(rows.index == 0)
    assert str(features_of(rows, project)["items"].dtype) == "float64"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.head(99), "the snapshot has 99 rows, training needs 100"),
        (lambda rows: rows.assign(is_returned=1), "has only the class 1"),
        (lambda rows: rows.assign(is_returned=rows["is_returned"] * 2), r"has the target values 0, 2"),
        (lambda rows: rows.assign(ordered_at=pd.Timestamp("2024-01-01")), "training window .* is empty"),
        (
            lambda rows: rows.assign(is_returned=rows["is_returned"].where(rows["ordered_at"] < "2024-01-31", 0)),
            "the test window .* has only the class 0",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    project: Project, rows: pd.DataFrame, change: object, told: str
) -> None:
    assert callable(change)
    with pytest.raises(StepError, match=told) as refusal:
        split_by_time(Snapshot("s3://snapshots/shop/x.parquet", "x", change(rows)), project)
    assert refusal.value.where == "s3://snapshots/shop/x.parquet"
    assert refusal.value.do


def test_training_reaches_as_far_back_as_declared(
    snapshot: Snapshot, repo: Path, declare: Callable[[str, str], None]
) -> None:
    declare("split: {test_days: 10}", "split: {test_days: 10}\n  history: 20d")
    project = load_project(repo, "shop")
    train, test = split_by_time(snapshot, project)
    assert train.start == pd.Timestamp("2024-01-11 00:00"), "20 days before 2024-01-31"
    assert (len(train.y), len(test.y)) == (200, 100)
    declare("history: 20d", "history: 1m")
    with pytest.raises(StepError, match=r"training window \(before 2024-01-31\) is empty"):
        split_by_time(snapshot, load_project(repo, "shop"))


def test_a_search_is_judged_on_the_last_quarter_of_the_training_window(snapshot: Snapshot, project: Project) -> None:
    train, test = split_by_time(snapshot, project)
    inner, validation = validation_split(train, project, snapshot.uri)
    assert inner.end < validation.start <= validation.end < test.start
    assert len(inner.y) + len(validation.y) == len(train.y)
    assert len(validation.y) == pytest.approx(len(train.y) / 4, abs=1)
    times = snapshot.rows["ordered_at"]
    returned = snapshot.rows["is_returned"].mask((times >= validation.start) & (times < test.start), 1)
    train, _ = split_by_time(Snapshot("s3://x", "x", snapshot.rows.assign(is_returned=returned)), project)
    with pytest.raises(StepError, match="search's validation window has only the class 1"):
        validation_split(train, project, "s3://x")


def test_a_regression_keeps_its_values(rows: pd.DataFrame, project: Project) -> None:
    values = project.model_copy(update={"task": "regression"})
    rows["is_returned"] = rows["price"] * 2
    train, _ = split_by_time(Snapshot("s3://x", "x", rows), values)
    assert train.y.tolist() == (train.x["price"] * 2).tolist()
    assert str(schema(values).field("is_returned").type) == "double"
    assert '"is_returned"::double precision' in columns(values).as_string()
    assert '"is_returned"::integer' in columns(project).as_string()


@pytest.mark.parametrize(("value", "told"), [(4.5, "has only the target 4.5"), (np.inf, "NaN or infinity as target")])
def test_a_regression_without_a_usable_target_is_refused(
    rows: pd.DataFrame, project: Project, value: float, told: str
) -> None:
    values = project.model_copy(update={"task": "regression"})
    with pytest.raises(StepError, match=told):
        split_by_time(Snapshot("s3://x", "x", rows.assign(is_returned=value)), values)
