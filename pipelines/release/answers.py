"""What the versions of a release have answered since its step began, out of the table of predictions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from contract import ALIAS_CHAMPION, ALIAS_SHADOW
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project, Task
from pipelines.release.store import Connection, Row
from pipelines.warehouse import open_database

SAMPLE_ROWS = 5000
"""The newest answers that figures are made of: enough for every bound, and little to read with each look."""
ANSWERS: dict[Task, sql.SQL] = {
    "classification": sql.SQL("probability"),
    "regression": sql.SQL("(prediction #>> '{}')::double precision"),
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """The candidate's newest answers (`entity_key`, `answer`, `features`, and as the shadow `champion`, the answer that
    was given for the same row), how many there are in all, and the milliseconds that each request took."""

    count: int
    rows: pd.DataFrame
    times: Array
    champion_times: Array


def read(env: Environment, project: Project, row: Row, alias: str) -> Answers:
    """Read them; StepError if the predictions cannot be read."""
    with _predictions(env) as connection:
        shown = _Query(connection, project, row)
        return Answers(
            count=shown.count(alias),
            rows=shown.pairs() if alias == ALIAS_SHADOW else shown.rows(alias),
            times=shown.times(row.version, alias),
            champion_times=shown.times(row.champion, ALIAS_CHAMPION),
        )


@dataclass(frozen=True)
class _Query:
    connection: Connection
    project: Project
    row: Row

    def count(self, alias: str) -> int:
        found = self.connection.execute(
            "SELECT count(*) FROM predictions WHERE model = %s AND created_at >= %s AND version = %s AND role = %s",
            (self.project.name, self.row.step_began_at, self.row.version, alias),
        ).fetchone()
        return int(found[0]) if found else 0

    def rows(self, alias: str) -> pd.DataFrame:
        """The candidate's newest answers."""
        query = sql.SQL(
            "SELECT entity_key, {answer}, features FROM predictions WHERE model = %s AND created_at >= %s "
            "AND version = %s AND role = %s AND {answer} IS NOT NULL ORDER BY created_at DESC LIMIT %s"
        ).format(answer=ANSWERS[self.project.task])
        values = (self.project.name, self.row.step_began_at, self.row.version, alias, SAMPLE_ROWS)
        return _frame(self.connection.execute(query, values).fetchall(), ["entity_key", "answer", "features"])

    def pairs(self) -> pd.DataFrame:
        """The shadow's newest answers beside those that the callers got, which have the same id and moment."""
        query = sql.SQL(
            "SELECT s.entity_key, s.answer, c.answer FROM "
            "(SELECT created_at, prediction_id, entity_key, {answer} AS answer FROM predictions WHERE model = %s "
            "AND created_at >= %s AND version = %s AND role = 'shadow' AND {answer} IS NOT NULL "
            "ORDER BY created_at DESC LIMIT %s) s JOIN LATERAL "
            "(SELECT {answer} AS answer FROM predictions p WHERE p.created_at = s.created_at "
            "AND p.prediction_id = s.prediction_id AND p.role = 'champion' AND p.version = %s) c "
            "ON c.answer IS NOT NULL"
        ).format(answer=ANSWERS[self.project.task])
        values = (self.project.name, self.row.step_began_at, self.row.version, SAMPLE_ROWS, self.row.champion)
        return _frame(self.connection.execute(query, values).fetchall(), ["entity_key", "answer", "champion"])

    def times(self, version: int | None, alias: str) -> Array:
        """The milliseconds of the newest requests, each counted once however many rows it had."""
        found = self.connection.execute(
            "SELECT max(latency_ms) FROM (SELECT request_id, prediction_id, latency_ms FROM predictions "
            "WHERE model = %s AND created_at >= %s AND version = %s AND role = %s ORDER BY created_at DESC LIMIT %s) p "
            "GROUP BY coalesce(request_id, prediction_id::text)",
            (self.project.name, self.row.step_began_at, version, alias, SAMPLE_ROWS),
        ).fetchall()
        return np.array([value for (value,) in found if value > 0], dtype=np.float64)


def _frame(found: list[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: [values[place] for values in found] for place, name in enumerate(columns)})


@contextmanager
def _predictions(env: Environment) -> Iterator[Connection]:
    with open_database(env.predictions_url) as connection:
        try:
            yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege) as error:
            raise StepError(
                f"the predictions cannot be read: {error.diag.message_primary}",
                where="PREDICTIONS_URL",
                do="the service serving-journal makes the table, and lets the pipelines read it: start it",
            ) from error
