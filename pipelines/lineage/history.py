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

    def syncs_of(self, project: str, connections: list[str] | None, before: datetime) -> list[Row]:
        """The syncs that had ended before a moment, the newest first: of `connections`, or of the project where those
        are not known."""
        return self.rows(
            "SELECT * FROM lineage.syncs WHERE ended_at <= %s AND"
            " CASE WHEN %s::text[] IS NULL THEN project = %s ELSE connection = ANY(%s) END ORDER BY ended_at DESC",
            before,
            connections,
            project,
            connections,
        )

    def pipeline_runs(self, project: str | None, limit: int) -> list[Row]:
        """The newest pipeline runs with their steps' names and states in order."""
        return self.rows(
            f"{_WITH_STEPS} WHERE %s::text IS NULL OR r.project = %s ORDER BY r.started_at DESC LIMIT %s",
            project,
            project,
            limit,
        )

    def find_pipeline_runs(self, name: str) -> list[Row]:
        """The pipeline runs that `name` may mean: its id, or an MLflow run of it or of its steps; else the newest few
        that have it in their id."""
        exact = self.rows(
            f"{_WITH_STEPS} WHERE r.id = %s OR r.mlflow_run_id = %s OR EXISTS (SELECT FROM lineage.steps o"
            " WHERE o.pipeline_run = r.id AND o.project = r.project AND o.step = 'train'"
            " AND o.result->>'run_id' = %s AND NOT coalesce((o.result->>'reused')::boolean, false))",
            name,
            name,
            name,
        )
        return exact or self.rows(f"{_WITH_STEPS} WHERE strpos(r.id, %s) > 0 ORDER BY r.started_at DESC LIMIT 5", name)

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


def _first(rows: list[Row]) -> Row | None:
    return rows[0] if rows else None
