"""The newest predictions of a version as sketches in ``monitoring.sketches``: a look reads only what is new since.

A sketch is of some rows that follow each other in time; a window is the newest sketches that have its rows together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from pipelines.environment import Environment
from pipelines.monitoring import sketch, stream
from pipelines.monitoring.baseline import Baseline
from pipelines.monitoring.predictions import CLOCKS_DIFFER, Given
from pipelines.monitoring.sketch import Bins, Sketch
from pipelines.monitoring.stream import Part
from pipelines.project import Project
from pipelines.warehouse import connect

SETTLED = timedelta(minutes=15)
"""Answers reach the database by way of a journal, late if it was away: what is younger than this is read again."""
PARTS_A_WINDOW = 10
PARTS_A_LOOK = 50
WINDOWS_KEPT = 4

TABLE = """
CREATE SCHEMA IF NOT EXISTS monitoring;
CREATE TABLE IF NOT EXISTS monitoring.sketches (
    project text NOT NULL,
    version integer NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    rows integer NOT NULL,
    columns jsonb NOT NULL,
    PRIMARY KEY (project, version, starts_at)
);
"""

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Window:
    """Rows that follow each other, as the sketch of each column; `starts_at` and `ends_at` are the first's and last's
    moments."""

    starts_at: datetime
    ends_at: datetime
    rows: int
    columns: Mapping[str, Sketch]


def look(
    env: Environment, project: Project, version: int, *, baseline: Baseline, registered: datetime, rows: int
) -> Window | None:
    """Sketch what the version answered since the last look, and give the newest `rows` rows, or a few more.

    Answers from before `registered` are not looked for. None: it has not answered at all.
    """
    with connect(env) as connection:
        connection.execute(TABLE)
        since = _forget_unsettled(connection, project, version) or registered - CLOCKS_DIFFER
        given = Given(project, version, since)
        size = max(rows // PARTS_A_WINDOW, stream.count(env, given) // PARTS_A_LOOK, 1)
        parts = stream.read(env, given, baseline.kinds, baseline.answer)
        for part in cut(parts, baseline.bins, size):
            _store(connection, project, version, part)
        return _newest(connection, project, version, rows)


def cut(parts: Iterable[Part], bins: Mapping[str, Bins], size: int) -> Iterator[Window]:
    """Sketch `parts` in pieces of `size` rows or a few more: rows of the same moment stay together, so that a piece's
    last moment tells where the next one begins."""
    columns: dict[str, Sketch] = {}
    rows, first, last = 0, 0, 0
    for part in parts:
        start = 0
        while start < len(part.at):
            end = int(part.at.searchsorted(last, "right")) if rows >= size else start + size - rows
            end = min(max(end, start), len(part.at))
            if end == start:
                yield Window(_moment(first), _moment(last), rows, columns)
                columns, rows = {}, 0
                continue
            if not rows:
                first = int(part.at[start])
            columns = sketch.add([columns, sketch.fold(bins, part.rows.slice(start, end - start))])
            rows, last, start = rows + end - start, int(part.at[end - 1]), end
        if part.mistyped:
            columns = _with_mistyped(columns, part.mistyped)
    if rows:
        yield Window(_moment(first), _moment(last), rows, columns)


def _with_mistyped(columns: Mapping[str, Sketch], mistyped: Mapping[str, int]) -> dict[str, Sketch]:
    return {
        name: part.model_copy(update={"mistyped": part.mistyped + mistyped.get(name, 0)})
        for name, part in columns.items()
    }


def _moment(micros: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _forget_unsettled(connection: Connection, project: Project, version: int) -> datetime | None:
    """Drop the sketches that rows may still be added to; the moment to read on from, if there is a sketch."""
    key = (project.name, version)
    connection.execute(
        "DELETE FROM monitoring.sketches WHERE project = %s AND version = %s AND ends_at > %s",
        (*key, datetime.now(UTC) - SETTLED),
    )
    row = connection.execute(
        "SELECT max(ends_at) FROM monitoring.sketches WHERE project = %s AND version = %s", key
    ).fetchone()
    return row[0] + timedelta(microseconds=1) if row and row[0] else None


def _store(connection: Connection, project: Project, version: int, part: Window) -> None:
    columns = json.dumps({name: its.model_dump(exclude_defaults=True) for name, its in part.columns.items()})
    connection.execute(
        "INSERT INTO monitoring.sketches (project, version, starts_at, ends_at, rows, columns) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        (project.name, version, part.starts_at, part.ends_at, part.rows, columns),
    )


def _newest(connection: Connection, project: Project, version: int, rows: int) -> Window | None:
    """The newest sketches that have `rows` rows together; older ones are dropped, but for some windows' worth."""
    kept = max(rows, project.monitoring.window_rows) * WINDOWS_KEPT
    key = {"project": project.name, "version": version, "rows": rows, "kept": kept}
    found = connection.execute(
        """
        SELECT starts_at, ends_at, rows, columns FROM (
            SELECT *, sum(rows) OVER (ORDER BY starts_at DESC) - rows AS newer
            FROM monitoring.sketches WHERE project = %(project)s AND version = %(version)s
        ) AS counted WHERE newer < %(rows)s ORDER BY starts_at
        """,
        key,
    ).fetchall()
    connection.execute(
        """
        DELETE FROM monitoring.sketches AS old USING (
            SELECT starts_at, sum(rows) OVER (ORDER BY starts_at DESC) - rows AS newer
            FROM monitoring.sketches WHERE project = %(project)s AND version = %(version)s
        ) AS counted
        WHERE old.project = %(project)s AND old.version = %(version)s AND old.starts_at = counted.starts_at
          AND counted.newer >= %(kept)s
        """,
        key,
    )
    if not found:
        return None
    columns = sketch.add({name: Sketch(**its) for name, its in row[3].items()} for row in found)
    return Window(found[0][0], found[-1][1], sum(row[2] for row in found), columns)
