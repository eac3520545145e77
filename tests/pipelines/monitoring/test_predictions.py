"""Predictions are read from the tables that the model server's journal makes."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.monitoring import predictions
from pipelines.project import Project
from serving.journal.tables import Tables
from tools.postgres import Postgres

NOW = datetime.now(UTC).replace(microsecond=0)
ID = "019350b4-5e6b-7abc-8def-012345000000"
ID_MADE_AT = datetime(2024, 11, 21, 21, 50, 18, 219000, UTC)
INSERT = """
INSERT INTO predictions VALUES (coalesce(%s, gen_random_uuid()), %s, %s, %s, %s, %s,
    '{"country": "FR", "price": 1.5, "items": 2}', 'true', 0.5, 1.5, 'client', 'r')
"""


@pytest.fixture
def env(postgres: Postgres, variables: dict[str, str]) -> Environment:
    return Environment.from_env(variables | {"PREDICTIONS_URL": postgres.url("pipelines")})


def insert(postgres: Postgres, *rows: tuple[str | None, datetime, str, int, str, str]) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        Tables(connection).prepare_months([made_at for _, made_at, *_ in rows])
        connection.cursor().executemany(INSERT, rows)


def test_without_the_tables_it_is_said_what_makes_them(env: Environment, project: Project, postgres: Postgres) -> None:
    postgres.query("DROP TABLE IF EXISTS predictions CASCADE")
    with pytest.raises(StepError, match="the predictions cannot be read"):
        predictions.recent(env, project, 1, NOW, 10)


def test_the_newest_answers_of_a_version_are_read(env: Environment, project: Project, postgres: Postgres) -> None:
    long_ago = NOW - timedelta(days=90)
    insert(
        postgres,
        (None, long_ago, "shop", 1, "champion", "before"),
        (None, NOW - timedelta(minutes=3), "shop", 1, "champion", "first"),
        (None, NOW - timedelta(minutes=2), "shop", 1, "canary", "second"),
        (None, NOW - timedelta(minutes=1), "shop", 1, "shadow", "nobody"),
        (None, NOW, "shop", 2, "champion", "other version"),
        (None, NOW, "other", 1, "champion", "other model"),
    )
    found = predictions.recent(env, project, 1, NOW - timedelta(hours=1), 10)
    assert list(found["entity_key"]) == ["second", "first"]
    assert list(found[["country", "price", "items"]].iloc[0]) == ["FR", 1.5, 2.0]
    assert list(predictions.recent(env, project, 1, long_ago, 10)["entity_key"]) == ["second", "first", "before"]
    assert list(predictions.recent(env, project, 1, long_ago, 1)["entity_key"]) == ["second"]


def test_a_stored_prediction_is_awaited(env: Environment, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "STORED_SECONDS", 0.0)
    insert(postgres, (None, NOW, "shop", 1, "champion", "k"))
    with pytest.raises(StepError, match="not in the database"):
        predictions.await_stored(env, ID)
    insert(postgres, (ID, ID_MADE_AT, "shop", 1, "champion", "k"))
    predictions.await_stored(env, ID)
