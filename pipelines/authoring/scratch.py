"""The scratch of a trial: a schema, a checkout, a registry and a project name of its own, all of which is removed.

Whatever a step writes carries the name of its project, and a trial's project is called like nothing else. So all that
it left can be found by that name, by the trial itself or, if that was killed, by the next one.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from pipelines import objects
from pipelines.authoring import CODE
from pipelines.authoring.process import end_programs
from pipelines.environment import Environment
from pipelines.warehouse import open_database

PREFIX = "platform_test_"
NAME = re.compile(rf"{PREFIX}[0-9a-f]{{8}}")
LOCK = "platform test"
DELETED_AT_ONCE = 1000

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Scratch:
    """`name` is that of the schema and of the project; `directory` holds checkout, state and registry."""

    name: str
    directory: Path
    connection: Connection

    @property
    def repo(self) -> Path:
        """The checkout that the steps are given."""
        return self.directory / "checkout"

    def variables(self, env: Environment) -> dict[str, str]:
        """What is different in the environment of the trial's steps."""
        state = self.directory / "state"
        registry = self.directory / "mlflow"
        return {
            "PLATFORM_REPO": str(self.repo),
            "PLATFORM_SCRATCH": self.name,
            "PLATFORM_COMMIT": env.commit,
            "PLATFORM_ACTOR": env.actor,
            "PLATFORM_PIPELINE_RUN": f"{self.name}/trial",
            "STEP_STATE_DIR": str(state),
            # A registry that is a directory: what is registered there is registered nowhere.
            "MLFLOW_TRACKING_URI": registry.as_uri(),
            "MLFLOW_ALLOW_FILE_STORE": "true",
            "MLFLOW_TRACKING_USERNAME": "",
            "MLFLOW_TRACKING_PASSWORD": "",
            "PUSHGATEWAY_URL": "",
            "OPENLINEAGE_URL": "",
            "PYTHONPATH": str(CODE),
        }


@contextmanager
def open_scratch(env: Environment) -> Iterator[Scratch]:
    """A scratch of its own, removed when the block ends, however it ends; those of killed trials are removed first."""
    with open_database(env.warehouse_url, autocommit=True, application=LOCK) as connection:
        _sweep(env, connection)
        scratch = Scratch(f"{PREFIX}{uuid4().hex[:8]}", Path(), connection)
        scratch = Scratch(scratch.name, _directory(env, scratch.name), connection)
        _try_lock(connection, scratch.name)
        try:
            # The schema is there from the first to the last moment: by it a killed trial is found.
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(scratch.name)))
            for part in ("checkout", "state", "mlflow"):
                (scratch.directory / part).mkdir(parents=True)
            yield scratch
        finally:
            with _undisturbed():
                remove(env, connection, scratch.name)


def remove(env: Environment, connection: Connection, name: str) -> None:
    """Remove all that the trial `name` made: objects, files, rows, and at last its schema."""
    s3 = objects.client(env)
    with objects.s3_errors(f"s3://{env.snapshots_bucket}/{name}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=env.snapshots_bucket, Prefix=f"{name}/"):
            for item in page.get("Contents", []):
                s3.delete_object(Bucket=env.snapshots_bucket, Key=item["Key"])
    shutil.rmtree(_directory(env, name), ignore_errors=True)
    for schema, table in _tables_with_project(connection):
        connection.execute(sql.SQL("DELETE FROM {} WHERE project = %s").format(sql.Identifier(schema, table)), (name,))
    connection.execute("SET client_min_messages = warning")
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))


def _directory(env: Environment, name: str) -> Path:
    return env.state_dir / "trials" / name


def _sweep(env: Environment, connection: Connection) -> None:
    """Remove what trials left that are no longer running."""
    for (name,) in connection.execute(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", (PREFIX,)
    ).fetchall():
        if NAME.fullmatch(name) and _try_lock(connection, name):
            end_programs(_directory(env, name))
            remove(env, connection, name)
            connection.execute("SELECT pg_advisory_unlock(hashtext(%s), hashtext(%s))", (LOCK, name))


def _try_lock(connection: Connection, name: str) -> bool:
    """Hold the name for as long as the session lives, if nobody else holds it."""
    row = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), hashtext(%s))", (LOCK, name)).fetchone()
    return bool(row and row[0])


def _tables_with_project(connection: Connection) -> list[tuple[str, str]]:
    """The tables with a column `project` that this role may delete from: the platform's own records."""
    return connection.execute(
        "SELECT c.table_schema, c.table_name FROM information_schema.columns c JOIN information_schema.tables t"
        " USING (table_schema, table_name) WHERE c.column_name = 'project' AND c.data_type = 'text'"
        " AND t.table_type = 'BASE TABLE' AND t.table_schema NOT IN ('raw', 'staging', 'marts')"
        " AND has_table_privilege(format('%I.%I', c.table_schema, c.table_name), 'DELETE')"
    ).fetchall()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not stop the cleaning."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
