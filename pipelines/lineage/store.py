"""The record of what ran: schema ``lineage`` of the warehouse. dbt writes ``lineage.dbt_runs`` itself (macro
``record_run``)."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.lineage.versions import component_versions
from pipelines.warehouse import connect, open_database

Connection = psycopg.Connection[tuple[Any, ...]]

# Steps of several projects may start at the same moment, and CREATE … IF NOT EXISTS is not safe against that.
_TABLES = """
SELECT pg_advisory_xact_lock(hashtext('lineage'));
CREATE SCHEMA IF NOT EXISTS lineage;
CREATE TABLE IF NOT EXISTS lineage.pipeline_runs (
    id text NOT NULL,
    project text NOT NULL,
    actor text NOT NULL,
    trigger text NOT NULL,
    commit text NOT NULL,
    versions jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    state text NOT NULL DEFAULT 'running',
    mlflow_run_id text,
    started_from integer,
    PRIMARY KEY (id, project)
);
CREATE TABLE IF NOT EXISTS lineage.steps (
    id bigserial PRIMARY KEY,
    pipeline_run text NOT NULL,
    project text NOT NULL,
    step text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    seconds double precision,
    state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed', 'skipped')),
    attempts integer NOT NULL DEFAULT 1,
    actor text NOT NULL,
    parameters jsonb NOT NULL,
    result jsonb,
    error text,
    FOREIGN KEY (pipeline_run, project) REFERENCES lineage.pipeline_runs ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS steps_by_run ON lineage.steps (pipeline_run, project);
CREATE INDEX IF NOT EXISTS steps_by_project ON lineage.steps (project, step, id);
CREATE TABLE IF NOT EXISTS lineage.syncs (
    id bigserial PRIMARY KEY,
    pipeline_run text NOT NULL,
    project text NOT NULL,
    connection text NOT NULL,
    connector text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT now(),
    streams jsonb NOT NULL,
    files jsonb NOT NULL
);
"""
_START = """
INSERT INTO lineage.steps (pipeline_run, project, step, actor, parameters)
VALUES (%(run)s, %(project)s, %(step)s, %(actor)s, %(parameters)s) RETURNING id
"""
# A poll that has to look again ends as skipped; the next one takes its row over, or a watch would fill the table.
_CONTINUE = """
UPDATE lineage.steps SET state = 'running', attempts = attempts + 1, ended_at = NULL, error = NULL, result = NULL
WHERE id = (SELECT max(id) FROM lineage.steps WHERE pipeline_run = %(run)s AND project = %(project)s
    AND step = %(step)s) AND state = 'skipped' RETURNING id
"""
# A step holds its lock in a session of its own, which ends with its process: one without it was killed.
HAS_LOCK = """EXISTS (
    SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid = (hashtext('lineage.steps')::bigint & 4294967295)::oid AND objid = steps.id::integer::oid)"""
LOST = "it ended without a word: killed, or the machine went down"
_BURY = f"""
UPDATE lineage.steps SET state = 'failed', error = '{LOST}'
WHERE state = 'running' AND project = %s AND NOT {HAS_LOCK} RETURNING pipeline_run
"""  # noqa: S608 (constants)
_END = """
UPDATE lineage.steps SET state = %(state)s, ended_at = now(), seconds = %(seconds)s, result = %(result)s,
    error = %(error)s WHERE id = %(id)s
"""
# What counts is how each step ended when it was last tried.
_SUM_UP = """
WITH last AS (
    SELECT DISTINCT ON (step) state, ended_at FROM lineage.steps
    WHERE pipeline_run = %(run)s AND project = %(project)s ORDER BY step, id DESC
)
UPDATE lineage.pipeline_runs SET
    state = (SELECT CASE WHEN bool_or(state = 'running') THEN 'running' WHEN bool_or(state = 'failed') THEN 'failed'
        WHEN bool_and(state = 'skipped') THEN 'skipped' ELSE 'done' END FROM last),
    ended_at = (SELECT CASE WHEN NOT bool_or(state = 'running') THEN max(ended_at) END FROM last)
WHERE id = %(run)s AND project = %(project)s RETURNING mlflow_run_id, state
"""


@dataclass
class Started:
    """A step that runs. `session` holds the lock that tells others that it still does. `dead` are the MLflow runs of
    pipeline runs of the project in which a step was found to have been killed."""

    id: int
    session: Connection
    dead: list[str]


def start(env: Environment, project: str, step: str, parameters: dict[str, Any]) -> Started:
    """Record that `step` of `project` begins, in `env.pipeline_run`, which is made if this is its first step.

    Raises:
        psycopg.Error, StepError: the warehouse does not answer or refuses.
    """
    session = open_database(env.warehouse_url, application=env.actor[-63:])
    try:
        make_tables(session)
        values = {"run": env.pipeline_run, "project": project, "step": step, "actor": env.actor}
        values["parameters"] = to_json(parameters)
        _open_pipeline_run(session, env, project, parameters.get("trigger"))
        row = session.execute(_CONTINUE, values).fetchone() or session.execute(_START, values).fetchone()
        if row is None:
            raise RuntimeError("PostgreSQL returned no id for a step")
        # Before the row can be seen by others, who would take it for a dead one.
        session.execute("SELECT pg_advisory_lock(hashtext('lineage.steps'), %s::integer)", (row[0],))
        dead = _bury(session, project)
        session.execute(_SUM_UP, {"run": env.pipeline_run, "project": project})
        session.commit()
        session.autocommit = True
    except BaseException:
        session.close()
        raise
    return Started(row[0], session, dead)


def _bury(session: Connection, project: str) -> list[str]:
    """Mark the steps of a project that were killed as failed; the MLflow runs of their pipeline runs."""
    runs = {row[0] for row in session.execute(_BURY, (project,))}
    ends = [session.execute(_SUM_UP, {"run": run, "project": project}).fetchone() for run in runs]
    return [row[0] for row in ends if row and row[0]]


def _open_pipeline_run(session: Connection, env: Environment, project: str, trigger: str | None) -> None:
    """Make the row of the pipeline run; the step that decides on a training knows more precisely what started it."""
    session.execute(
        "INSERT INTO lineage.pipeline_runs (id, project, actor, trigger, commit, versions)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id, project) DO UPDATE"
        " SET trigger = coalesce(%s::text, pipeline_runs.trigger)",
        (
            env.pipeline_run,
            project,
            env.actor,
            trigger or env.trigger,
            env.commit,
            to_json(component_versions()),
            trigger,
        ),
    )


def end(
    env: Environment,
    project: str,
    started: Started,
    *,
    state: str,
    seconds: float,
    result: dict[str, Any] | None = None,
    error: str | None = None,
) -> tuple[str | None, str]:
    """Record how a step ended: `state` is "done", "failed" or "skipped".

    Returns the MLflow run of the pipeline run, if it has one, and the state of the pipeline run.

    Raises:
        psycopg.Error, StepError: the warehouse does not answer or refuses.
    """
    values = {"state": state, "seconds": round(seconds, 3), "error": error, "id": started.id}
    values["result"] = None if result is None else to_json(result)
    with closing(started.session), connect(env) as connection:
        connection.execute(_END, values)
        row = connection.execute(_SUM_UP, {"run": env.pipeline_run, "project": project}).fetchone()
    return (row[0], row[1]) if row else (None, state)


def attach(env: Environment, mlflow_run_id: str, started_from: int | None) -> None:
    """Tell the pipeline run which MLflow run stands for it, and which champion there was when it began.

    A pipeline run that is not recorded stays so: a script may call a step's function by itself.
    """
    with suppress(psycopg.Error, StepError), connect(env) as connection:
        connection.execute(
            "UPDATE lineage.pipeline_runs SET mlflow_run_id = %s, started_from = %s WHERE id = %s",
            (mlflow_run_id, started_from, env.pipeline_run),
        )


def record_sync(connection: Connection, env: Environment, project: str, sync: dict[str, Any]) -> None:
    """Record in the caller's transaction that a connection was synced: `sync` has `connection`, `connector`,
    `started_at`, `streams` (rows read by table) and `files` (each with `stream`, `uri`, `etag` and `rows`)."""
    make_tables(connection)
    connection.execute(
        "INSERT INTO lineage.syncs (pipeline_run, project, connection, connector, started_at, streams, files) VALUES"
        " (%(run)s, %(project)s, %(connection)s, %(connector)s, %(started_at)s, %(streams)s, %(files)s)",
        {
            **sync,
            "run": env.pipeline_run,
            "project": project,
            "streams": to_json(sync["streams"]),
            "files": to_json(sync["files"]),
        },
    )


def unsent_dbt_runs(connection: Connection, project: str) -> list[dict[str, Any]]:
    """The dbt runs of a project whose events nobody has sent; in the caller's transaction they count as sent."""
    row = connection.execute("SELECT to_regclass('lineage.dbt_runs')").fetchone()
    if not row or row[0] is None:
        return []
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "UPDATE lineage.dbt_runs SET emitted = true WHERE project = %s AND NOT emitted RETURNING *", (project,)
        ).fetchall()


def make_tables(connection: Connection) -> None:
    """Make the tables, if they are not there."""
    row = connection.execute("SELECT to_regclass('lineage.syncs')").fetchone()
    if not row or row[0] is None:
        connection.execute(_TABLES)


def to_json(value: Any) -> str:
    """`value` as JSON; what JSON does not know, as text."""
    return json.dumps(value, default=str)
