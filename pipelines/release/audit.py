"""Who changed what is served or who may do what, when and why: the table ``audit.actions``, to which rows are only
added. What is done to people has no project (an empty text)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from pipelines.environment import Environment
from pipelines.warehouse import connect

SERVICE_ACCOUNT = "pipelines"
"""MLflow's account of the steps themselves: who uses it is named by the step's actor."""

TABLES = """
CREATE SCHEMA IF NOT EXISTS audit;
CREATE TABLE IF NOT EXISTS audit.actions (
    id bigserial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    project text NOT NULL,
    version integer,
    details jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS actions_project_at ON audit.actions (project, at);
"""


@dataclass(frozen=True)
class Action:
    """What somebody did to a version of a project's model."""

    actor: str
    action: str
    project: str
    version: int | None
    details: dict[str, Any]


def actor(env: Environment) -> str:
    """Who acts: the person whose MLflow account is used, as ``<account>@mlflow``, else the step's own actor."""
    own = env.mlflow_username
    return f"{own}@mlflow" if own and own != SERVICE_ACCOUNT else env.actor


def record(env: Environment, action: str, project: str, version: int | None, **details: Any) -> None:
    """Add a row."""
    with connect(env) as connection:
        connection.execute(TABLES)
        insert(connection, Action(actor(env), action, project, version, details))


def insert(connection: psycopg.Connection[tuple[Any, ...]], done: Action) -> None:
    """Add a row in a transaction of the caller, who has made the table."""
    connection.execute(
        "INSERT INTO audit.actions (actor, action, project, version, details) VALUES (%s, %s, %s, %s, %s)",
        (done.actor, done.action, done.project, done.version, Jsonb(done.details)),
    )
