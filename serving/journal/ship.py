"""Takes the journal to PostgreSQL: each row once, in order, however often either side is killed."""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from serving.journal.aside import ASIDE_FILE, put_aside
from serving.journal.figures import Figures
from serving.journal.format import FEEDBACK, PREDICTIONS, Entry, Line, moment
from serving.journal.rows import (
    FEEDBACK_COLUMNS,
    PREDICTION_COLUMNS,
    Row,
    feedback_rows,
    prediction_rows,
    put_feedback,
    put_predictions,
)
from serving.journal.segments import segment_files
from serving.journal.tables import Connection, Tables
from serving.journal.tail import Part, read_part, read_parts, segment_name

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
CARE_SECONDS = 3600.0
_FIRST_RETRY_SECONDS = 0.25
_LAST_RETRY_SECONDS = 5.0
_PING_SECONDS = 5.0
_PEEK_BYTES = 65536
_CONNECT_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "application_name": "serving-journal",
}
# The position moves only from where this shipper read it. One that was killed may still have a transaction on its
# way to commit: then this waits for it, and finds that the rows are there.
_MOVE = """
INSERT INTO journal_positions AS p (segment, shipped_bytes) VALUES (%s, %s)
ON CONFLICT (segment) DO UPDATE SET shipped_bytes = excluded.shipped_bytes, updated_at = now()
WHERE p.shipped_bytes = %s
"""


class PositionMoved(Exception):
    """Another shipper's transaction has committed what this one was about to."""


class Group:
    """What one transaction commits: rows, and what was read that cannot be a row."""

    def __init__(self, parts: Sequence[Part]) -> None:
        """Take the lines of `parts` apart."""
        self.predictions: list[Row] = []
        self.feedback: list[Row] = []
        self.moments: set[datetime] = set()
        self.damaged: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.shipped = 0
        for part in parts:
            for line in part.lines:
                if line.entry is None:
                    self.damaged.append(_whereabouts(part, line, "damaged line") | {"line": line.raw.decode("latin-1")})
                    continue
                try:
                    self._add(line.entry)
                except Exception as exc:
                    # Its checksum is right, so it was written like that; it must not stop the others.
                    reason = f"{type(exc).__name__}: {exc}"
                    self.refused.append(_whereabouts(part, line, reason) | {"entry": line.entry})

    def _add(self, entry: Entry) -> None:
        if entry["kind"] == PREDICTIONS:
            made_at = moment(entry)
            self.predictions += list(prediction_rows(entry, made_at))
            self.moments.add(made_at)
        elif entry["kind"] == FEEDBACK:
            self.feedback += list(feedback_rows(entry))
        else:
            raise ValueError(f"no kind of entry that this version knows: {entry['kind']}")

    def put(self, connection: Connection) -> None:
        """Add the rows within a transaction; what PostgreSQL refuses of them goes to `refused`."""
        for rows, columns, put in (
            (self.predictions, PREDICTION_COLUMNS, put_predictions),
            (self.feedback, FEEDBACK_COLUMNS, put_feedback),
        ):
            found = put(connection, rows)
            self.shipped += len(rows) - len(found)
            self.refused += [{"reason": one.reason, "row": dict(zip(columns, one.row, strict=True))} for one in found]


class Shipper:
    """Follows the segments below `journal`, commits their entries, and deletes what is shipped and closed."""

    def __init__(self, journal: Path, url: str, retention_days: int) -> None:
        """Ship to the database at `url`, where predictions are kept for `retention_days` (0: for ever)."""
        self._journal = journal
        self._url = url
        self._retention_days = retention_days
        self._positions: dict[str, int] = {}
        self._connection: Connection | None = None
        self._tables: Tables
        self._cared_at = 0.0
        self._heard_at = 0.0
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self._away = False
        self._silent = False
        self.figures = Figures(journal)

    def run(self, stop: threading.Event) -> None:
        """Ship until `stop` is set."""
        not_before = 0.0
        while not stop.is_set():
            busy = False
            if time.monotonic() >= not_before:
                try:
                    busy = self.round()
                    self._retry_seconds = _FIRST_RETRY_SECONDS
                except (psycopg.Error, OSError, PositionMoved) as exc:
                    self._give_up(exc)
                    not_before = time.monotonic() + self._retry_seconds
                    self._retry_seconds = min(2 * self._retry_seconds, _LAST_RETRY_SECONDS)
            if self.figures.due():
                self._tell()
            if not busy:
                stop.wait(POLL_SECONDS)
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def round(self) -> bool:
        """Ship what is there, at most what one transaction takes; return whether there was something.

        Raises:
            psycopg.Error: PostgreSQL is away.
            OSError: the disk fails.
            PositionMoved: another shipper was faster.
        """
        connection = self._connected()
        self._care(connection)
        parts = read_parts(self._journal, self._positions)
        moving = [part for part in parts if part.stop > part.start]
        if moving:
            self._ship(connection, moving)
        elif time.monotonic() - self._heard_at > _PING_SECONDS:
            connection.execute("SELECT")
            self._heard_at = time.monotonic()
        for part in parts:
            if part.last:
                part.path.unlink(missing_ok=True)
                self._positions.pop(segment_name(part.path), None)
        return bool(moving)

    def _ship(self, connection: Connection, parts: Sequence[Part]) -> None:
        group = Group(parts)
        self._tables.prepare_months(group.moments)
        with connection.transaction():
            for part in parts:
                moved = connection.execute(_MOVE, (segment_name(part.path), part.stop, part.start))
                if moved.rowcount != 1:
                    raise PositionMoved(f"{part.path} is shipped beyond {part.start} already")
            group.put(connection)
            if group.damaged or group.refused:
                put_aside(self._journal, group.damaged + group.refused)
        self._positions |= {segment_name(part.path): part.stop for part in parts}
        self._count(group, parts)

    def _count(self, group: Group, parts: Sequence[Part]) -> None:
        refused = len(group.refused)
        self.figures.shipped_rows += group.shipped
        self.figures.refused_rows += refused
        self.figures.damaged_lines += len(group.damaged)
        for item in group.damaged:
            log.error("line damaged in segment %s at byte %d; it is in %s", item["segment"], item["offset"], ASIDE_FILE)
        if refused:
            log.error("%d rows refused, they are in %s; the first: %s", refused, ASIDE_FILE, group.refused[0]["reason"])
        for part in parts:
            if part.abandoned:
                log.warning("%s ends with %d bytes of an unfinished line, left out", part.path, part.abandoned)

    def _connected(self) -> Connection:
        if self._connection is not None:
            return self._connection
        connection = psycopg.connect(self._url, autocommit=True, **_CONNECT_OPTIONS)
        try:
            self._tables = Tables(connection)
            shipped = connection.execute("SELECT segment, shipped_bytes FROM journal_positions").fetchall()
        except psycopg.Error:
            connection.close()
            raise
        self._positions = {str(segment): int(position) for segment, position in shipped}
        self._connection = connection
        self._cared_at = 0.0
        self.figures.postgres_up = True
        if self._away:
            self._away = False
            log.info("PostgreSQL takes rows again")
        return connection

    def _give_up(self, exc: Exception) -> None:
        self.close()
        if isinstance(exc, PositionMoved):
            log.info("%s; positions are read again", exc)
            return
        if isinstance(exc, psycopg.Error):
            self.figures.postgres_up = False
        if not self._away:
            self._away = True
            log.error("nothing is shipped until this is over, the journal keeps it: %s", str(exc).partition("\n")[0])

    def _care(self, connection: Connection) -> None:
        if self._cared_at and time.monotonic() - self._cared_at < CARE_SECONDS:
            return
        self._cared_at = time.monotonic()
        try:
            self._tables.care(datetime.now(UTC), self._retention_days)
            self._tables.forget_segments(segment_name(path) for path in segment_files(self._journal))
        except psycopg.Error as exc:
            if connection.closed:
                raise
            log.error("old rows cannot be removed, rows are shipped all the same: %s", str(exc).partition("\n")[0])

    def _tell(self) -> None:
        try:
            self.figures.waiting_bytes, self.figures.lag_seconds = self._waiting()
            self.figures.write()
            self._silent = False
        except OSError as exc:
            if not self._silent:
                log.error("the figures cannot be written: %s", exc)
            self._silent = True

    def _waiting(self) -> tuple[int, float]:
        """Return the bytes that are not shipped yet, and the age of the oldest of them in seconds."""
        waiting, lag, seen = 0, 0.0, set()
        for path in segment_files(self._journal):
            shipped = self._positions.get(segment_name(path), 0)
            with suppress(FileNotFoundError):
                unshipped = path.stat().st_size - shipped
                if unshipped <= 0:
                    continue
                waiting += unshipped
                if path.parent not in seen:
                    seen.add(path.parent)
                    lag = max(lag, _age(path, shipped))
        return waiting, lag


def _whereabouts(part: Part, line: Line, reason: str) -> dict[str, Any]:
    return {"segment": segment_name(part.path), "offset": part.start + line.start, "reason": reason}


def _age(path: Path, start: int) -> float:
    entries = [line.entry for line in read_part(path, start, _PEEK_BYTES).lines if line.entry is not None]
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        return max(datetime.now(UTC).timestamp() - moment(entries[0]).timestamp(), 0.0) if entries else 0.0
    return 0.0
