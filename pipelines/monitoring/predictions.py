"""What the model server answered, and what turned out to be true."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pandas as pd
import psycopg
from psycopg import sql

from pipelines.data import mart
from pipelines.data.dataset import features_of
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project, Task, seconds
from pipelines.warehouse import connect, open_database

STORED_SECONDS = 30.0
STORED_POLL_SECONDS = 0.1
CLOCKS_DIFFER = timedelta(days=1)

Connection = psycopg.Connection[tuple[Any, ...]]

ANSWER: dict[Task, sql.SQL] = {
    "classification": sql.SQL("probability"),
    "regression": sql.SQL(
        "CASE jsonb_typeof(prediction) WHEN 'number' THEN (prediction #>> '{}')::double precision END"
    ),
}
IS_NUMBER = sql.SQL("(answer > '-Infinity' AND answer < 'Infinity')")


@dataclass(frozen=True)
class Given:
    """The answers that a version gave from `since` to `until`, both included, or to now."""

    project: Project
    version: int
    since: datetime
    until: datetime | None = None

    @property
    def table(self) -> sql.Composed:
        """A subquery of them: `created_at`, `entity_key`, `features`, `latency_ms`, `answer`.

        What the version said as a shadow is not among them: nobody was answered with it.
        """
        return sql.SQL(
            "(SELECT created_at, entity_key, features, latency_ms, {answer} AS answer FROM predictions WHERE "
            "model = {model} AND version = {version} AND role IN ('champion', 'canary') "
            "AND created_at >= {since} AND created_at <= {until}) AS given"
        ).format(
            answer=ANSWER[self.project.task],
            model=sql.Literal(self.project.name),
            version=sql.Literal(self.version),
            since=sql.Literal(self.since),
            until=sql.Literal(self.until or datetime.now(UTC) + CLOCKS_DIFFER),
        )


class Health(NamedTuple):
    """How the answers of some time came: rows, odd answers, and latency in milliseconds."""

    rows: int
    without_number: int
    """Answers that are null, NaN or infinite."""
    distinct: int
    p50: float | None
    p95: float | None
    p99: float | None


@contextmanager
def opened(env: Environment) -> Iterator[Connection]:
    """The database of predictions; a table that is not there, or may not be read, is a StepError."""
    with open_database(env.predictions_url) as connection:
        try:
            yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
            raise StepError(
                f"the predictions cannot be read: {error.diag.message_primary}",
                where="PREDICTIONS_URL",
                do="the service serving-journal makes the table, and lets the pipelines read it: start it",
            ) from error


def recent(env: Environment, project: Project, version: int, since: datetime, rows: int) -> pd.DataFrame:
    """The newest `rows` answers of the version, newest first: `created_at`, `entity_key`, `answer`, and the features.

    Features have the types that a training has. There are none from before `since`: months before it are not looked
    through.
    """
    given = Given(project, version, since - CLOCKS_DIFFER)
    query = sql.SQL("SELECT created_at, entity_key, answer, features FROM {} ORDER BY created_at DESC LIMIT {}")
    with opened(env) as connection:
        found = connection.execute(query.format(given.table, sql.Literal(rows))).fetchall()
    columns = {
        "created_at": [row[0] for row in found],
        "entity_key": [row[1] for row in found],
        "answer": pd.Series([row[2] for row in found], dtype="float64"),
    }
    raw = {name: [row[3].get(name) for row in found] for name in project.data.features}
    return pd.DataFrame(columns).join(features_of(pd.DataFrame(raw), project))


def answers(env: Environment, given: Given, rows: int) -> pd.DataFrame:
    """The newest `rows` of the answers that name an entity, newest first: `entity_key`, `answer`."""
    query = sql.SQL(
        "SELECT entity_key, answer FROM {} WHERE entity_key IS NOT NULL AND {} ORDER BY created_at DESC LIMIT {}"
    )
    with opened(env) as connection:
        found = connection.execute(query.format(given.table, IS_NUMBER, sql.Literal(rows))).fetchall()
    return pd.DataFrame(found, columns=["entity_key", "answer"]).astype({"answer": "float64"})


def health(env: Environment, given: Given) -> Health:
    """How the answers came."""
    query = sql.SQL(
        "SELECT count(*), count(*) FILTER (WHERE {} IS NOT TRUE), count(DISTINCT answer), "
        "percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY latency_ms) FROM {}"
    )
    with opened(env) as connection:
        row = connection.execute(query.format(IS_NUMBER, given.table)).fetchone()
    rows, odd, distinct, latency = row or (0, 0, 0, None)
    return Health(int(rows), int(odd), int(distinct), *(latency or (None, None, None)))


def outcomes(env: Environment, project: Project, keys: list[str]) -> pd.Series:
    """The target of those `keys` for which it is known and final by now, indexed by entity key.

    Before `target_known_after` what is known is not yet all: an order that is returned is known sooner than one that
    is kept, so the rows known so far would be of one kind.
    """
    data = project.data
    kind = sql.SQL("integer" if project.task == "classification" else "double precision")
    query = sql.SQL(
        "SELECT {key}::text, {target}::{kind} FROM {table} WHERE {key}::text = ANY(%s) AND {target} IS NOT NULL "
        "AND {time}::timestamp <= (now() AT TIME ZONE 'UTC') - make_interval(secs => %s)"
    )
    names = {"key": data.entity_key, "target": data.target, "time": data.event_time}
    with connect(env) as connection:
        mart.check_columns(connection, project)
        found = connection.execute(
            query.format(
                table=mart.table(project), kind=kind, **{role: sql.Identifier(name) for role, name in names.items()}
            ),
            (keys, seconds(data.target_known_after)),
        ).fetchall()
    return pd.Series(dict(found), dtype="int64" if project.task == "classification" else "float64")


def await_stored(env: Environment, prediction_id: str) -> None:
    """Wait until a prediction has come from the model server's journal into the database; StepError if it does not."""
    deadline = time.monotonic() + STORED_SECONDS
    with open_database(env.predictions_url, autocommit=True) as connection:
        # An id is a UUID of version 7 (RFC 9562) and begins with its moment, which tells the partition.
        made_at = datetime.fromtimestamp((UUID(prediction_id).int >> 80) / 1000, UTC)
        query = "SELECT 1 FROM predictions WHERE created_at = %s AND prediction_id = %s"
        while connection.execute(query, (made_at, prediction_id)).fetchone() is None:
            if time.monotonic() > deadline:
                raise StepError(
                    f"the predictions were answered, but are not in the database after {STORED_SECONDS:g} s",
                    where="PREDICTIONS_URL",
                    do="the service serving-journal brings them there: `platform logs serving-journal`",
                )
            time.sleep(STORED_POLL_SECONDS)
