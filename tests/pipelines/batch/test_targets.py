"""Handing scores over to tables of a real PostgreSQL, and to files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow.parquet as pq
import pytest

from pipelines.batch.ledger import Entry
from pipelines.batch.parts import Job, score_part
from pipelines.batch.places import File, Place, Table
from pipelines.batch.targets import check, deliver, delivered
from pipelines.environment import Environment
from pipelines.errors import StepError
from tests.pipelines.batch.cases import made_job, orders
from tools.postgres import Postgres

TABLE = Table("scores.shop")


@pytest.fixture
def env(postgres: Postgres, variables: dict[str, str]) -> Iterator[Environment]:
    yield Environment.from_env(variables | {"WAREHOUSE_URL": postgres.url("pipelines")})
    postgres.query("DROP SCHEMA IF EXISTS scores, batch CASCADE")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return computed(made_job(tmp_path / "job", orders(100), 40))


def computed(job: Job) -> Job:
    for number in job.undone:
        score_part(job, number)
    return job


def hand_over(env: Environment, target: Place, job: Job, name: str = "first", project: str = "shop") -> None:
    check(env, target, project)
    entry = Entry(
        id=name,
        project=project,
        version=job.scorer.version,
        source="marts.orders",
        target=target.name,
        engine="local",
        rows=job.rows,
        actor="test",
        started_at=datetime.now(UTC),
    )
    deliver(env, target, job, entry)


def sql(env: Environment, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(env.warehouse_url) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def expected(job: Job) -> list[tuple[Any, ...]]:
    rows = pd.concat([part.to_pandas() for part in job.scores()])
    return list(rows[["entity_key", "prediction", "probability"]].itertuples(index=False, name=None))


def test_the_scores_come_into_a_table_once(env: Environment, job: Job) -> None:
    check(env, TABLE, "shop")
    assert delivered(env, TABLE, "first") is None
    hand_over(env, TABLE, job)
    query = "SELECT entity_key, prediction, probability FROM scores.shop ORDER BY entity_key"
    assert sql(env, query) == expected(job)
    assert delivered(env, TABLE, "first") == 100
    hand_over(env, TABLE, job)
    assert sql(env, query) == expected(job)
    assert sql(env, "SELECT id, rows, source, target, actor FROM batch.jobs") == [
        ("first", 100, "marts.orders", "scores.shop", "test")
    ]


def test_another_version_adds_its_own(env: Environment, job: Job, tmp_path: Path) -> None:
    hand_over(env, TABLE, job)
    hand_over(env, TABLE, computed(made_job(tmp_path / "next", orders(100), 40, version=4)), "second")
    counts = sql(env, "SELECT model_version, count(*) FROM scores.shop GROUP BY 1 ORDER BY 1")
    assert counts == [(3, 100), (4, 100)]


def test_new_rows_of_the_same_version_replace_those_of_their_entities(
    env: Environment, job: Job, tmp_path: Path
) -> None:
    hand_over(env, TABLE, job)
    more = computed(made_job(tmp_path / "next", orders(30, first=90), 40))
    hand_over(env, TABLE, more, "second")
    assert sql(env, "SELECT job, count(*) FROM scores.shop GROUP BY 1 ORDER BY 1") == [("first", 90), ("second", 30)]
    assert delivered(env, TABLE, "second") == 30
    assert delivered(env, TABLE, "first") is None


@pytest.mark.parametrize("loss", ["DELETE FROM scores.shop WHERE entity_key = 'o0001'", "DROP TABLE scores.shop"])
def test_scores_that_were_lost_are_not_taken_for_delivered(env: Environment, job: Job, loss: str) -> None:
    hand_over(env, TABLE, job)
    sql(env, loss)
    assert delivered(env, TABLE, "first") is None
    hand_over(env, TABLE, job)
    assert delivered(env, TABLE, "first") == 100


def test_a_table_that_holds_something_else_is_refused(env: Environment, job: Job) -> None:
    sql(env, "CREATE SCHEMA scores; CREATE TABLE scores.shop (a int)")
    with pytest.raises(StepError, match="not one that `platform score` made"):
        hand_over(env, TABLE, job)
    sql(env, "DROP TABLE scores.shop")
    hand_over(env, TABLE, job)
    with pytest.raises(StepError, match="it holds the scores of shop") as refusal:
        hand_over(env, TABLE, job, project="other")
    assert refusal.value.where == "scores.shop"


def test_a_schema_where_nothing_may_be_made_is_told_first(env: Environment) -> None:
    with pytest.raises(StepError, match="no table may be made in the schema pg_catalog"):
        check(env, Table("pg_catalog.scores"), "shop")


def test_an_entity_that_occurs_twice_is_told_and_nothing_is_changed(env: Environment, job: Job, tmp_path: Path) -> None:
    hand_over(env, TABLE, job)
    rows = pd.concat([orders(60), orders(1)])
    twice = computed(made_job(tmp_path / "next", rows, 40, version=4))
    with pytest.raises(StepError, match="order_id o0000 occurs 2 times"):
        hand_over(env, TABLE, twice, "second")
    assert sql(env, "SELECT count(*), max(model_version) FROM scores.shop") == [(100, 3)]
    assert delivered(env, TABLE, "second") is None


def test_a_part_that_cannot_be_written_leaves_the_table_as_it_was(env: Environment, job: Job, tmp_path: Path) -> None:
    hand_over(env, TABLE, job)
    sql(env, "ALTER TABLE scores.shop ADD CHECK (model_version < 4)")
    with pytest.raises(StepError, match=r"cannot be written.*check constraint"):
        hand_over(env, TABLE, computed(made_job(tmp_path / "next", orders(100), 40, version=4)), "second")
    assert sql(env, "SELECT count(*), max(model_version) FROM scores.shop") == [(100, 3)]


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_the_scores_come_into_a_file(env: Environment, job: Job, tmp_path: Path, name: str) -> None:
    target = File(tmp_path / name)
    hand_over(env, target, job)
    read = partial(pd.read_csv, float_precision="round_trip") if name.endswith("csv") else pd.read_parquet
    scores = read(target.path)
    assert list(scores.columns) == ["entity_key", "prediction", "probability", "model_version", "scored_at"]
    assert list(scores[["entity_key", "prediction", "probability"]].itertuples(index=False, name=None)) == expected(job)
    assert delivered(env, target, "first") == 100
    hand_over(env, target, computed(made_job(tmp_path / "next", orders(20), 40, version=4)), "second")
    assert set(read(target.path)["model_version"]) == {4}
    assert (delivered(env, target, "first"), delivered(env, target, "second")) == (None, 20)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]


def test_a_parquet_file_says_which_version_made_it(env: Environment, job: Job, tmp_path: Path) -> None:
    hand_over(env, File(tmp_path / "scores.parquet"), job)
    told = pq.read_schema(tmp_path / "scores.parquet").metadata
    assert (told[b"platform.model"], told[b"platform.version"]) == (b"shop", b"3")


def test_a_file_that_is_not_ours_is_left_alone(env: Environment, job: Job, tmp_path: Path) -> None:
    target = File(tmp_path / "scores.csv")
    target.path.write_text("a,b\n1,2\n")
    with pytest.raises(StepError, match="not one that `platform score` made"):
        hand_over(env, target, job)
    target.path.unlink()
    hand_over(env, target, job)
    target.path.write_text(target.path.read_text() + "a line of somebody's\n")
    with pytest.raises(StepError, match="changed after"):
        check(env, target, "shop")
    assert delivered(env, target, "first") is None


def test_a_directory_that_is_not_there_is_told(env: Environment, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no such directory"):
        check(env, File(tmp_path / "nowhere" / "scores.csv"), "shop")
