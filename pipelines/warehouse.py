"""The warehouse (PostgreSQL): connections, and one lock a step so that no step runs twice at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pipelines.environment import Environment
from pipelines.errors import StepError

CONNECT_SECONDS = 10


def connect(env: Environment, *, autocommit: bool = False) -> psycopg.Connection[tuple[Any, ...]]:
    """Open the warehouse; the caller closes it (``with connect(env) as connection`` commits and closes)."""
    return open_database(env.warehouse_url, autocommit=autocommit)


def open_database(
    url: str, *, autocommit: bool = False, application: str = "pipelines"
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open the database at `url`, with times in UTC; an unreachable one is a StepError that names host and database, no
    password."""
    options = f"{conninfo_to_dict(url).get('options') or ''} -c TimeZone=UTC".strip()
    try:
        return psycopg.connect(
            url,
            autocommit=autocommit,
            connect_timeout=CONNECT_SECONDS,
            application_name=application,
            options=options,
        )
    except psycopg.OperationalError as error:
        parts = urlsplit(url)
        reason = str(error).strip().splitlines()[-1]
        raise StepError(
            f"cannot connect: {reason}",
            where=f"PostgreSQL {parts.hostname}:{parts.port}{parts.path} as {parts.username}",
            do="is it up? `platform status` tells; the role and password come from the step's environment",
        ) from None


@contextmanager
def step_lock(env: Environment, project: str, step: str) -> Iterator[None]:
    """Hold `step` of `project` for as long as the block runs; refused at once while somebody else holds it.

    The lock lives in a database session, so it ends with the process that holds it, however that ends.
    """
    with open_database(env.warehouse_url, autocommit=True, application=env.actor[-63:]) as connection:
        key = (project, step)
        row = connection.execute("SELECT pg_try_advisory_lock(hashtext(%s), hashtext(%s))", key).fetchone()
        if not (row and row[0]):
            raise StepError(
                f"already running: {_holder(connection, key)}",
                where=f"{project} {step}",
                do="wait for it to end, or stop it, then start this again",
            )
        yield


def _holder(connection: psycopg.Connection[tuple[Any, ...]], key: tuple[str, str]) -> str:
    """Who holds the lock `key`, as the activity of the database tells it."""
    row = connection.execute(
        """
        SELECT a.application_name, a.pid, a.backend_start
        FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database
              WHERE datname = current_database())
          AND l.classid = (hashtext(%s)::bigint & 4294967295)::oid
          AND l.objid = (hashtext(%s)::bigint & 4294967295)::oid
        """,
        key,
    ).fetchone()
    if row is None:
        return "its holder has just ended"
    name, pid, since = row
    started = since.strftime("%Y-%m-%d %H:%M:%S") if isinstance(since, datetime) else "?"
    return f"started by {name or 'unknown'} at {started} (database session {pid})"
