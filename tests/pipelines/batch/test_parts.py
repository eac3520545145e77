"""A job in parts: made, computed, interrupted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression

from pipelines.batch.parts import Job, make_job, open_job, score_part
from pipelines.errors import StepError
from pipelines.models.model_store import MODEL_FILE
from tests.pipelines.batch.cases import as_batches, fitted, made_job, orders, scorer_in


def all_scores(job: Job) -> pd.DataFrame:
    for number in job.undone:
        score_part(job, number)
    return pa.concat_tables(job.scores()).to_pandas()


@pytest.mark.parametrize("sizes", [[250], [1], [90, 7], [40]])
def test_the_rows_are_cut_into_parts_in_their_order(tmp_path: Path, sizes: list[int]) -> None:
    scorer = scorer_in(tmp_path, fitted())
    job = make_job(tmp_path, scorer, as_batches(orders(250), scorer, sizes), 40, "orders")
    assert (job.rows, job.parts, job.rows_of(6)) == (250, list(range(7)), 10)
    read = [pd.read_parquet(job.input(number)) for number in job.parts]
    assert [len(part) for part in read] == [40] * 6 + [10]
    assert list(pd.concat(read)["order_id"]) == list(orders(250)["order_id"])


def test_a_job_that_is_not_whole_is_none(tmp_path: Path) -> None:
    made = made_job(tmp_path, orders(100), 40)
    assert open_job(tmp_path) == made
    (tmp_path / "job.json").unlink()
    assert open_job(tmp_path) is None


def test_the_scores_are_the_answers_of_the_model(tmp_path: Path) -> None:
    rows = orders(100)
    scores = all_scores(made_job(tmp_path, rows, 30))
    x = rows[["country", "price", "items"]]
    assert list(scores["entity_key"]) == list(rows["order_id"])
    assert np.array_equal(scores["prediction"], fitted().predict(x))
    assert np.array_equal(scores["probability"], fitted().predict_proba(x)[:, 1])
    assert set(scores["model_version"]) == {3}
    assert scores["scored_at"].notna().all()


def test_a_regression_answers_with_the_value_and_no_probability(tmp_path: Path) -> None:
    rows = orders(50)
    scores = all_scores(made_job(tmp_path, rows, 30, task="regression"))
    assert np.array_equal(scores["prediction"], fitted("regression").predict(rows[["country", "price", "items"]]))
    assert scores["probability"].isna().all()


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    job = made_job(tmp_path, orders(100), 30)
    assert score_part(job, 2) == 30
    job.output(0).with_suffix(".new").write_text("a crash left half of it")
    assert job.undone == [0, 1, 3]
    done = job.output(2).stat().st_mtime_ns
    all_scores(job)
    assert job.undone == []
    assert job.output(2).stat().st_mtime_ns == done


def test_a_changed_artifact_computes_nothing(tmp_path: Path) -> None:
    job = made_job(tmp_path, orders(30), 30)
    with (tmp_path / "model" / MODEL_FILE).open("ab") as file:
        file.write(b"more")
    with pytest.raises(StepError, match="not what was logged") as refusal:
        score_part(job, 0)
    assert refusal.value.where == "shop version 3"
    assert job.undone == [0]


@pytest.mark.parametrize(("column", "row"), [("order_id", 45), ("price", 3)])
def test_a_value_that_may_not_be_missing_is_told_with_its_row(tmp_path: Path, column: str, row: int) -> None:
    rows = orders(60)
    rows.loc[row - 1, column] = None
    with pytest.raises(StepError, match=f"the column {column} is empty in row {row} ") as refusal:
        made_job(tmp_path, rows, 40)
    assert refusal.value.where == "orders"
    assert open_job(tmp_path) is None


def test_a_value_that_may_be_missing_is_scored(tmp_path: Path) -> None:
    rows = orders(40)
    rows["country"] = None
    assert len(all_scores(made_job(tmp_path, rows, 40))) == 40


def test_nothing_to_score_is_told(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="it has no rows"):
        made_job(tmp_path, orders(0), 40)


def test_a_model_that_cannot_answer_is_told_with_the_rows(tmp_path: Path) -> None:
    rows = orders(60)
    model = LogisticRegression().fit(rows[["price", "items"]], rows["price"] > 50)
    scorer = scorer_in(tmp_path, model)
    rows.loc[50, "price"] = np.inf
    job = make_job(tmp_path, scorer, as_batches(rows, scorer, [60]), 40, "orders")
    with pytest.raises(StepError, match="it cannot answer: ValueError: Input X contains infinity") as refusal:
        score_part(job, 1)
    assert refusal.value.where == "shop version 3, rows 41 to 60"
