"""What has been scored: a row in the warehouse for each job whose scores were handed over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from pipelines.errors import StepError

Connection = psycopg.Connection[tuple[Any, ...]]

_TABLE = """
SELECT pg_advisory_xact_lock(hashtext('batch.jobs'));
CREATE SCHEMA IF NOT EXISTS batch;
CREATE TABLE IF NOT EXISTS batch.jobs (
    id text PRIMARY KEY,
    project text NOT NULL,
    version integer NOT NULL,
    source text NOT NULL,
    target text NOT NULL,
    engine text NOT NULL,
    rows bigint NOT NULL,
    output_digest text,
    actor text NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL
)
"""


@dataclass(frozen=True)
class Entry:
    """A job. `output_digest` is the sha256 of the file that it made, None if its target is a table."""

    id: str
    project: str
    version: int
    source: str
    target: str
    engine: str
    rows: int
    actor: str
    started_at: datetime
    output_digest: str | None = None


def prepare(connection: Connection) -> None:
    """Make the table if it is not there."""
    connection.execute(_TABLE)


def write(connection: Connection, entry: Entry) -> None:
    """Note that the job's scores are handed over; a repeated job replaces its row."""
    connection.execute(
        """
        INSERT INTO batch.jobs (id, project, version, source, target, engine, rows, output_digest, actor, started_at,
            ended_at)
        VALUES (%(id)s, %(project)s, %(version)s, %(source)s, %(target)s, %(engine)s, %(rows)s, %(output_digest)s,
            %(actor)s, %(started_at)s, clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET source = excluded.source, engine = excluded.engine, rows = excluded.rows,
            output_digest = excluded.output_digest, actor = excluded.actor, started_at = excluded.started_at,
            ended_at = excluded.ended_at
        """,
        vars(entry),
    )


def rows_of(connection: Connection, job: str) -> int | None:
    """How many rows a job that ended had; None if there is none."""
    found = connection.execute("SELECT rows FROM batch.jobs WHERE id = %s", (job,)).fetchone()
    return int(found[0]) if found else None


def digests_of(connection: Connection, target: str) -> dict[str, str]:
    """The jobs that made the file `target`, each with the digest of what it made."""
    query = "SELECT id, output_digest FROM batch.jobs WHERE target = %s AND output_digest IS NOT NULL"
    return dict(connection.execute(query, (target,)).fetchall())


def check_owner(connection: Connection, target: str, project: str) -> None:
    """Refuse a target that exists, unless it holds the scores of this project."""
    owners = connection.execute("SELECT DISTINCT project FROM batch.jobs WHERE target = %s", (target,)).fetchall()
    others = sorted(name for (name,) in owners if name != project)
    if others:
        raise StepError(f"it holds the scores of {', '.join(others)}", where=target, do="choose another --to")
    if not owners:
        raise StepError(
            "it exists and is not one that `platform score` made",
            where=target,
            do="choose another --to, or remove it",
        )
