"""The releases of all projects in the warehouse: what is to happen is written here before the registry is touched.

A row is `running` until the registry is what it says; a row with `ending` is on its way out. Every move of the alias
champion has a row, also those of a person, so the table is the history of what served.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.release import audit
from pipelines.warehouse import open_database

Kind = Literal["direct", "shadow", "canary", "promote", "rollback"]
"""The declared strategy, or what a person asked for."""
State = Literal["running", "promoted", "rolled_back", "cancelled"]
Ending = Literal["promoted", "rolled_back", "cancelled"]
Connection = psycopg.Connection[tuple[Any, ...]]

LOCK_SECONDS = 120

TABLES = """
CREATE SCHEMA IF NOT EXISTS releases;
CREATE TABLE IF NOT EXISTS releases.releases (
    id bigserial PRIMARY KEY,
    project text NOT NULL,
    version integer NOT NULL,
    champion integer,
    strategy text NOT NULL,
    state text NOT NULL DEFAULT 'running',
    ending text,
    step integer NOT NULL DEFAULT 0,
    applied boolean NOT NULL DEFAULT false,
    step_began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    marks jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    actor text NOT NULL,
    reason text
);
CREATE UNIQUE INDEX IF NOT EXISTS releases_one_running ON releases.releases (project) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS releases_project_version ON releases.releases (project, version);
CREATE TABLE IF NOT EXISTS releases.observations (
    release bigint NOT NULL REFERENCES releases.releases ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    step integer NOT NULL,
    figures jsonb NOT NULL,
    verdict text NOT NULL
);
CREATE INDEX IF NOT EXISTS observations_release ON releases.observations (release, at);
"""
_COLUMNS = (
    "id, project, version, champion, strategy, state, ending, step, applied, step_began_at, marks, started_at, "
    "ended_at, actor, reason"
)


@dataclass(frozen=True)
class Row:
    """A row of ``releases.releases``. `champion` is the version that answered when it began, `step` counts from 0,
    `applied` tells that the registry was brought to the step, `ending` what it is becoming."""

    id: int
    project: str
    version: int
    champion: int | None
    strategy: Kind
    state: State
    ending: Ending | None
    step: int
    applied: bool
    step_began_at: datetime
    marks: dict[str, Any] = field(repr=False)
    started_at: datetime
    ended_at: datetime | None
    actor: str
    reason: str | None


class Store:
    """The tables over one connection, which commits each call by itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('releases.tables'))")
            connection.execute(TABLES)
            connection.execute(audit.TABLES)

    def running(self, project: str) -> Row | None:
        """The release of `project` that is not over, if there is one."""
        return self._one("project = %s AND state = 'running'", project)

    def latest(self, project: str, version: int) -> Row | None:
        """The newest row of a version, if it has one."""
        return self._one("project = %s AND version = %s", project, version)

    def history(self, project: str, limit: int = 20) -> list[Row]:
        """The newest rows of a project, newest first."""
        return self._rows("project = %s ORDER BY id DESC LIMIT %s", project, limit)

    def begin(
        self, project: str, version: int, champion: int | None, kind: Kind, who: str, *, promote: str | None = None
    ) -> Row:
        """Add a running release; with `promote`, the reason, it is to end at once with the version as champion.

        Raises:
            StepError: the project has a running release already.
        """
        query = (
            "INSERT INTO releases.releases (project, version, champion, strategy, actor, ending, reason) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id"
        )
        values = (project, version, champion, kind, who, "promoted" if promote else None, promote)
        try:
            with self._connection.transaction():
                made = self._connection.execute(query, values).fetchone()
                self._audit(who, "release_begin", project, version, strategy=kind)
        except psycopg.errors.UniqueViolation:
            raise StepError(
                "a release is running already",
                where=project,
                do=f"see `release {project} status`; wait for its end, or end it: `platform models rollback {project}`",
            ) from None
        return self._get(made[0] if made else 0)

    def go_to(self, row: Row, step: int, who: str, reason: str) -> Row:
        """Write down that the release goes to `step`, before the registry is touched."""
        with self._connection.transaction():
            self._connection.execute(
                "UPDATE releases.releases SET step = %s, applied = false WHERE id = %s", (step, row.id)
            )
            self._audit(who, "release_advance", row.project, row.version, release=row.id, step=step + 1, reason=reason)
        return self._get(row.id)

    def applied(self, row: Row, marks: dict[str, Any]) -> Row:
        """Write down that the registry is where the step wants it: the step begins now."""
        self._connection.execute(
            "UPDATE releases.releases SET applied = true, step_began_at = clock_timestamp(), marks = %s WHERE id = %s",
            (Jsonb(marks), row.id),
        )
        return self._get(row.id)

    def mark(self, row: Row, marks: dict[str, Any], figures: dict[str, Any], verdict: str) -> None:
        """Keep what a look at the release has seen; one that saw nothing new renews the row of the last one."""
        with self._connection.transaction():
            self._connection.execute("UPDATE releases.releases SET marks = %s WHERE id = %s", (Jsonb(marks), row.id))
            renewed = self._connection.execute(
                "UPDATE releases.observations SET at = clock_timestamp(), verdict = %s WHERE release = %s AND at = "
                "(SELECT max(at) FROM releases.observations WHERE release = %s) AND (step, figures) = (%s, %s)",
                (verdict, row.id, row.id, row.step, Jsonb(figures)),
            )
            if not renewed.rowcount:
                self._connection.execute(
                    "INSERT INTO releases.observations (release, step, figures, verdict) VALUES (%s, %s, %s, %s)",
                    (row.id, row.step, Jsonb(figures), verdict),
                )

    def end(self, row: Row, ending: Ending, reason: str) -> Row:
        """Write down how the release is to end, before the registry is touched."""
        self._connection.execute(
            "UPDATE releases.releases SET ending = %s, reason = %s WHERE id = %s", (ending, reason, row.id)
        )
        return self._get(row.id)

    def ended(self, row: Row, who: str) -> Row:
        """Write down that the registry is as the release's ending wants it, with an audit row: both or neither."""
        with self._connection.transaction():
            self._connection.execute(
                "UPDATE releases.releases SET state = ending, ended_at = clock_timestamp() WHERE id = %s", (row.id,)
            )
            self._audit(
                who,
                f"release_{row.ending}",
                row.project,
                row.version,
                release=row.id,
                strategy=row.strategy,
                champion=row.champion,
                reason=row.reason,
            )
        return self._get(row.id)

    def observations(self, row: Row, limit: int = 1) -> list[dict[str, Any]]:
        """What was seen of a release, newest first: `at`, `step`, `figures`, `verdict`."""
        found = self._connection.execute(
            "SELECT at, step, figures, verdict FROM releases.observations WHERE release = %s ORDER BY at DESC LIMIT %s",
            (row.id, limit),
        ).fetchall()
        return [dict(zip(("at", "step", "figures", "verdict"), values, strict=True)) for values in found]

    def _audit(self, who: str, action: str, project: str, version: int, **details: Any) -> None:
        audit.insert(self._connection, audit.Action(who, action, project, version, details))

    def _get(self, number: int) -> Row:
        return self._rows("id = %s", number)[0]

    def _one(self, where: str, *values: Any) -> Row | None:
        found = self._rows(f"{where} ORDER BY id DESC LIMIT 1", *values)
        return found[0] if found else None

    def _rows(self, where: str, *values: Any) -> list[Row]:
        query = f"SELECT {_COLUMNS} FROM releases.releases WHERE {where}"  # noqa: S608 (texts of this module only)
        return [Row(*found) for found in self._connection.execute(query, values).fetchall()]


@contextmanager
def opened(env: Environment, project: str | None = None) -> Iterator[Store]:
    """The store; with `project`, held alone for as long as the block runs, after waiting for who holds it.

    A poll, a registration and a person would otherwise move the same aliases at once.
    """
    with open_database(env.warehouse_url, autocommit=True, application=audit.actor(env)[-63:]) as connection:
        if project is not None:
            _lock(connection, project)
        yield Store(connection)


def _lock(connection: Connection, project: str) -> None:
    connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    try:
        connection.execute("SELECT pg_advisory_lock(hashtext('releases'), hashtext(%s))", (project,))
    except psycopg.errors.LockNotAvailable:
        raise StepError(
            f"somebody else has been changing the release for {LOCK_SECONDS} s",
            where=project,
            do="wait for it to end, then start this again",
        ) from None
    connection.execute("RESET lock_timeout")
