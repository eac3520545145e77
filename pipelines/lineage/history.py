"""What the record knows of the past: questions to schema ``lineage``, each answered with rows as dictionaries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pipelines.environment import Environment
from pipelines.lineage.store import HAS_LOCK, LOST
from pipelines.warehouse import connect

Row = dict[str, Any]
LINKS = ("prediction", "model", "run", "code", "snapshot", "dbt_run", "sync", "files")
"""What a prediction goes back to, one through the other."""


class History:
    """The record in the warehouse of `env`; tables that nobody has written to yet are empty ones."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def rows(self, query: str, *values: Any) -> list[Row]:
        """The rows of a query.

        Raises:
            StepError: the warehouse does not answer.
        """
        with connect(self._env) as connection, connection.cursor(row_factory=dict_row) as cursor:
            try:
                return cursor.execute(query, values).fetchall()  # type: ignore[arg-type]
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return []

    def step_with(self, project: str, step: str, result: dict[str, Any], before: datetime | None = None) -> Row | None:
        """The newest run of a step that ended well with what `result` says (and began before a moment)."""
        return _first(
            self.rows(
                "SELECT * FROM lineage.steps WHERE project = %s AND step = %s AND state = 'done' AND result @> %s"
                " AND started_at <= coalesce(%s::timestamptz, 'infinity') ORDER BY id DESC LIMIT 1",
                project,
                step,
                Jsonb(result),
                before,
            )
        )

    def dbt_run_of(self, table: str, before: datetime) -> Row | None:
        """The dbt run that had built `table` (schema.name) when the moment `before` came."""
        return _first(
            self.rows(
                "SELECT * FROM lineage.dbt_runs WHERE ended_at <= %s AND models @> %s ORDER BY ended_at DESC LIMIT 1",
                before,
                Jsonb([{"table": table, "status": "success"}]),
            )
        )

    def sources_of(self, table: str, project: str, before: datetime) -> set[str]:
        """The tables that no dbt model of the project builds and `table` was made from, as of a moment."""
        built = {row["table"]: row["inputs"] for row in self.rows(_GRAPH, project, before)}
        return sources(table, built)

    def syncs_of(self, project: str, tables: set[str] | None, before: datetime) -> list[Row]:
        """The syncs that had ended before a moment, the newest first: those that filled one of `tables`, or those of
        the project where the tables are not known."""
        names = None if tables is None else sorted(tables)
        return self.rows(
            "SELECT * FROM lineage.syncs WHERE ended_at <= %s AND"
            " CASE WHEN %s::text[] IS NULL THEN project = %s ELSE streams ?| %s::text[] END ORDER BY ended_at DESC",
            before,
            names,
            project,
            names,
        )

    def pipeline_runs(self, project: str | None, limit: int) -> list[Row]:
        """The newest pipeline runs with their steps' names and states in order."""
        where = "WHERE %s::text IS NULL OR r.project = %s ORDER BY r.started_at DESC LIMIT %s"
        return self._pipeline_runs(where, project, project, limit)

    def find_pipeline_runs(self, name: str) -> list[Row]:
        """The pipeline runs that `name` may mean: its id, or an MLflow run of it or of its training; else the newest
        few that have it in their id."""
        exact = self._pipeline_runs(_OF_NAME, name, name, name)
        return exact or self._pipeline_runs(_LIKE_NAME, name, name)

    def _pipeline_runs(self, where: str, *values: Any) -> list[Row]:
        rows = self.rows(_WITH_STEPS + where, *values)
        failed = {(row["pipeline_run"], row["project"]) for row in self.rows(_DBT_FAILED, [row["id"] for row in rows])}
        return [row | {"state": "failed"} if (row["id"], row["project"]) in failed else row for row in rows]

    def steps(self, pipeline_run: str, project: str) -> list[Row]:
        """The steps of a pipeline run, in the order in which they began."""
        return self.rows(_STEPS, pipeline_run, project)

    def dbt_runs(self, pipeline_run: str, project: str) -> list[Row]:
        """The dbt runs of a pipeline run."""
        return self.rows(
            "SELECT * FROM lineage.dbt_runs WHERE pipeline_run = %s AND project = %s ORDER BY started_at",
            pipeline_run,
            project,
        )


# A step that was killed has not said so; the next one of the project will.
_STATE = f"CASE WHEN state = 'running' AND NOT {HAS_LOCK} THEN 'failed' ELSE state END"
_STEPS = f"""
SELECT steps.*, {_STATE} AS state, CASE WHEN {_STATE} <> state THEN '{LOST}' ELSE error END AS error
FROM lineage.steps WHERE pipeline_run = %s AND project = %s ORDER BY id
"""  # noqa: S608 (constants)
_WITH_STEPS = f"""
SELECT r.*, extract(epoch FROM coalesce(r.ended_at, now()) - r.started_at)::float AS seconds,
    CASE WHEN r.state = 'running' AND NOT s.running THEN 'failed' ELSE r.state END AS state,
    coalesce(s.steps, '[]') AS steps
FROM lineage.pipeline_runs r, LATERAL (
    SELECT jsonb_agg(jsonb_build_object('step', step, 'state', {_STATE}) ORDER BY id) AS steps,
        coalesce(bool_or({_STATE} = 'running'), false) AS running
    FROM lineage.steps WHERE pipeline_run = r.id AND project = r.project) s
"""  # noqa: S608 (constants)


# In Airflow dbt is no step, but one that failed has failed its pipeline run, unless it was tried again.
_DBT_FAILED = """
SELECT pipeline_run, project FROM (
    SELECT DISTINCT ON (pipeline_run, project) * FROM lineage.dbt_runs WHERE pipeline_run = ANY(%s)
    ORDER BY pipeline_run, project, ended_at DESC) last
WHERE state = 'failed'
"""
_OF_NAME = """
WHERE r.id = %s OR r.mlflow_run_id = %s OR EXISTS (
    SELECT FROM lineage.steps o WHERE o.pipeline_run = r.id AND o.project = r.project AND o.step = 'train'
    AND o.result->>'run_id' = %s AND NOT coalesce((o.result->>'reused')::boolean, false))
"""
_LIKE_NAME = """
WHERE strpos(r.id, %s) > 0 ORDER BY starts_with(reverse(r.id), reverse(%s)) DESC, r.started_at DESC LIMIT 5
"""


_GRAPH = """
SELECT DISTINCT ON (m->>'table') m->>'table' AS table, m->'inputs' AS inputs
FROM lineage.dbt_runs, jsonb_array_elements(models) m WHERE project = %s AND ended_at <= %s
ORDER BY m->>'table', ended_at DESC
"""


def sources(table: str, built: dict[str, list[str]]) -> set[str]:
    """The tables that `table` goes back to and that are not among the `built` ones, which name what they read."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [table]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in built:
            waiting += built[name]
        else:
            found.add(name)
    return found


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None
