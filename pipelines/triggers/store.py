"""The table ``triggers.decisions``: each time that something asked for a training, what was decided, and why."""

from __future__ import annotations

from typing import Any, cast

import psycopg
from psycopg.types.json import Jsonb

from pipelines.environment import Environment
from pipelines.triggers.guards import TRIGGERS, Begun, Decision, Trigger

Connection = psycopg.Connection[tuple[Any, ...]]
Evidence = dict[str, Any]

TABLES = """
CREATE SCHEMA IF NOT EXISTS triggers;
CREATE TABLE IF NOT EXISTS triggers.decisions (
    id bigserial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    project text NOT NULL,
    trigger text NOT NULL,
    train boolean NOT NULL,
    reason text NOT NULL,
    evidence jsonb NOT NULL,
    actor text NOT NULL,
    pipeline_run text NOT NULL
);
CREATE INDEX IF NOT EXISTS decisions_project_at ON triggers.decisions (project, at);
"""


def prepare(connection: Connection) -> None:
    """Make the table if it is not there."""
    connection.execute(TABLES)


def begun(connection: Connection, project: str) -> list[Begun]:
    """The trainings that were decided on in the last day, and the newest that nobody asked for, however old."""
    rows = connection.execute(
        """
        SELECT at, trigger FROM triggers.decisions
        WHERE project = %(project)s AND train AND (
            at > now() - interval '1 day'
            OR id = (SELECT id FROM triggers.decisions WHERE project = %(project)s AND train AND trigger <> 'demand'
                     ORDER BY at DESC LIMIT 1))
        """,
        {"project": project},
    ).fetchall()
    return [Begun(at, cast(Trigger, trigger)) for at, trigger in rows if trigger in TRIGGERS]


def last_evidence(connection: Connection, project: str, trigger: Trigger) -> Evidence | None:
    """What the newest training by `trigger` was decided on; None if there was none."""
    row = connection.execute(
        "SELECT evidence FROM triggers.decisions WHERE project = %s AND trigger = %s AND train "
        "ORDER BY at DESC LIMIT 1",
        (project, trigger),
    ).fetchone()
    return row[0] if row else None


def made(connection: Connection, env: Environment, project: str) -> tuple[int, str] | None:
    """The decision to train, id and reason, that this pipeline run has come to before: a task that is tried again must
    not be held back by its own first try."""
    row = connection.execute(
        "SELECT id, reason FROM triggers.decisions WHERE project = %s AND pipeline_run = %s AND train",
        (project, env.pipeline_run),
    ).fetchone()
    return (int(row[0]), str(row[1])) if row else None


def record(
    connection: Connection, env: Environment, project: str, *, trigger: Trigger, decision: Decision, evidence: Evidence
) -> int:
    """Add a decision; its id."""
    row = connection.execute(
        "INSERT INTO triggers.decisions (project, trigger, train, reason, evidence, actor, pipeline_run) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id",
        (project, trigger, decision.train, decision.reason, Jsonb(evidence), env.actor, env.pipeline_run),
    ).fetchone()
    return int(row[0]) if row else 0
