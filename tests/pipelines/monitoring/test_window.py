"""Predictions are sketched once, and the window is what the newest sketches hold; on a real PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from pipelines.environment import Environment
from pipelines.monitoring import baseline, performance, predictions, stream, window
from pipelines.monitoring.baseline import Baseline
from pipelines.monitoring.predictions import Given
from pipelines.monitoring.window import Window
from pipelines.project import Project
from serving.journal.tables import Tables
from tools.postgres import Postgres

NOW = datetime.now(UTC).replace(microsecond=0)
REGISTERED = NOW - timedelta(days=10)
INSERT = """
INSERT INTO predictions VALUES (gen_random_uuid(), %s, 'shop', %s, %s, %s, %s, %s, %s, 1.5, 'client', 'r')
"""
Look = Callable[..., Window | None]


@pytest.fixture
def env(postgres: Postgres, variables: dict[str, str]) -> Environment:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        Tables(connection).prepare_months([NOW - timedelta(days=days) for days in range(31)])
        connection.execute("TRUNCATE predictions; DROP TABLE IF EXISTS orders")
    url = postgres.url("pipelines")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS monitoring.sketches")
    return Environment.from_env(variables | {"PREDICTIONS_URL": url, "WAREHOUSE_URL": url})


@pytest.fixture
def project(project: Project) -> Project:
    return project.model_copy(update={"monitoring": project.monitoring.model_copy(update={"window_rows": 100})})


@pytest.fixture
def learnt(project: Project) -> Baseline:
    x = pd.DataFrame({"country": ["de", "fr"] * 100, "price": np.arange(200.0), "items": [1, 2] * 100})
    answer = np.linspace(0, 1, 200)
    return baseline.make(project, x, answer, pd.Series((answer > 0.5).astype(int)))


@pytest.fixture
def look(env: Environment, project: Project, learnt: Baseline) -> Look:
    def look(rows: int = 100, version: int = 1) -> Window | None:
        return window.look(env, project, version, baseline=learnt, registered=REGISTERED, rows=rows)

    return look


def ask(postgres: Postgres, at: datetime, rows: int, **changed: Any) -> None:
    """Rows a second apart from `at` on, of version 1, answered by the champion with .5."""
    given = {"version": 1, "role": "champion", "key": "k", "answer": 0.5, "prediction": True, "price": 10} | changed
    features = json.dumps({"country": "de", "price": given["price"], "items": 1})
    asked = [
        (
            at + timedelta(seconds=second),
            given["version"],
            given["role"],
            f"{given['key']}{second}" if given["key"] else None,
            features,
            json.dumps(given["prediction"]),
            given["answer"],
        )
        for second in range(rows)
    ]
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.cursor().executemany(INSERT, asked)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each look reads."""
    seen: list[int] = []
    parse = stream.parse

    def counting(lines: list[bytes], *others: Any) -> stream.Part:
        seen.append(len(lines))
        return parse(lines, *others)

    monkeypatch.setattr(stream, "parse", counting)
    return seen


def test_a_version_that_has_not_answered_has_no_window(look: Look) -> None:
    assert look() is None


def test_what_is_new_is_read_once_and_the_window_moves_on(look: Look, postgres: Postgres, reads: list[int]) -> None:
    ask(postgres, NOW - timedelta(hours=3), 100, price=10)
    first = look()
    assert first is not None
    assert (first.rows, first.columns["price"].rows) == (100, 100)
    ask(postgres, NOW - timedelta(hours=2), 60, price="dear")
    second = look()
    assert second is not None
    assert (second.rows, second.columns["price"].mistyped) == (100, 60)
    assert (second.ends_at, look()) == (NOW - timedelta(hours=2) + timedelta(seconds=59), second)
    assert reads == [100, 60]


def test_rows_that_arrive_late_are_counted(look: Look, postgres: Postgres) -> None:
    """The journal was away for a while: its rows are older than some that are there already."""
    ask(postgres, NOW - timedelta(minutes=2), 20)
    look()
    ask(postgres, NOW - timedelta(minutes=4), 30, key="late")
    found = look()
    assert found is not None
    assert found.rows == 50


def test_shadows_other_versions_and_what_was_before_the_version_are_not_looked_at(
    look: Look, postgres: Postgres
) -> None:
    ask(postgres, NOW - timedelta(hours=2), 5, role="canary")
    ask(postgres, NOW - timedelta(hours=1), 7, role="shadow")
    ask(postgres, NOW - timedelta(hours=1), 9, version=2)
    ask(postgres, REGISTERED - timedelta(days=3), 11)
    one, two = look(), look(version=2)
    assert one is not None
    assert two is not None
    assert (one.rows, two.rows) == (5, 9)


def test_old_sketches_are_dropped(look: Look, postgres: Postgres) -> None:
    """A look at a smaller window than declared leaves enough for the next one."""
    for day in range(9, 0, -1):
        ask(postgres, NOW - timedelta(days=day), 100)
        look(10)
    [(rows,)] = postgres_rows(postgres, "SELECT sum(rows) FROM monitoring.sketches")
    assert rows == window.WINDOWS_KEPT * 100


def postgres_rows(postgres: Postgres, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgres.url("pipelines")) as connection:
        return connection.execute(query).fetchall()


def test_answers_that_are_no_number_are_told_apart(env: Environment, project: Project, postgres: Postgres) -> None:
    at = NOW - timedelta(hours=1)
    ask(postgres, at, 3, answer=0.25)
    ask(postgres, at, 2, answer=float("nan"), key="n")
    ask(postgres, at, 1, answer=None, key="m")
    ask(postgres, at, 4, answer=0.5, key=None)
    given = Given(project, 1, at, NOW)
    found = predictions.health(env, given)
    assert (found.rows, found.without_number, found.p50, found.p99) == (10, 3, 1.5, 1.5)
    assert list(predictions.answers(env, given, 10)["answer"]) == [0.25] * 3


def test_a_regression_answers_with_its_prediction(env: Environment, project: Project, postgres: Postgres) -> None:
    ask(postgres, NOW - timedelta(hours=1), 2, answer=None, prediction=12.5)
    ask(postgres, NOW - timedelta(hours=1), 1, answer=None, prediction="much", key="odd")
    values = project.model_copy(update={"task": "regression"})
    given = Given(values, 1, REGISTERED)
    assert list(predictions.answers(env, given, 10)["answer"]) == [12.5, 12.5]
    [part] = stream.read(env, given, {"price": "number", "p": "number"}, "p")
    assert sorted(part.rows.column("p").to_pylist(), key=str) == [12.5, 12.5, None]
    assert list(predictions.recent(env, values, 1, REGISTERED, 1)["answer"]) == [12.5]


def make_orders(postgres: Postgres, key: str, rows: str) -> None:
    """The mart of the declaration, with an entity key of the type `key`."""
    columns = f"(order_id {key}, ordered_at timestamp, is_returned boolean, country text, price float, items int)"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE orders " + columns)
        connection.execute("GRANT SELECT ON orders TO pipelines")
        connection.execute("INSERT INTO orders " + rows)


def test_the_key_may_be_a_number_in_the_mart(env: Environment, project: Project, postgres: Postgres) -> None:
    make_orders(postgres, "integer", "VALUES (7, '2024-01-01', true), (8, '2024-01-01', NULL)")
    shop = project.model_copy(update={"data": project.data.model_copy(update={"table": "public.orders"})})
    assert predictions.outcomes(env, shop, ["7", "8", "x"]).to_dict() == {"7": 1}


def test_outcomes_count_when_they_are_final(
    env: Environment, project: Project, postgres: Postgres, learnt: Baseline
) -> None:
    """Of 300 newer answers some outcomes are known already, of 200 older ones all: only these are a fair sample."""
    late = project.data.model_copy(update={"table": "public.orders", "target_known_after": "2d"})
    shop = project.model_copy(
        update={
            "data": late,
            "monitoring": project.monitoring.model_copy(update={"minimum_predictions": 100}),
        }
    )
    ask(postgres, NOW - timedelta(days=3), 200, key="old")
    ask(postgres, NOW - timedelta(days=1), 300, key="new")
    make_orders(
        postgres,
        "text",
        "SELECT entity_key, created_at AT TIME ZONE 'UTC', "
        "CASE WHEN right(entity_key, 1) = '1' THEN true WHEN entity_key LIKE 'old%' THEN false END FROM predictions",
    )
    found = performance.measure(
        env, Given(shop, 1, REGISTERED), rows=300, calibration=learnt.calibration, at_training=0.9
    )
    assert found.labelled == 200
    assert found.metrics is not None
    assert found.metrics["roc_auc"] == pytest.approx(0.5)
    assert found.lost is True
    assert (found.estimated or {})["brier"] == pytest.approx(0.25, abs=0.02)
    soon = replace(Given(shop, 1, REGISTERED), until=NOW - timedelta(days=5))
    nothing = performance.measure(env, soon, rows=300, calibration=learnt.calibration, at_training=0.9)
    assert (nothing.labelled, nothing.estimated) == (0, None)
