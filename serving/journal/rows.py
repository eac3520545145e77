"""Rows of the tables: made of journal entries, and put into PostgreSQL, the ones that it refuses aside."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import psycopg

from serving.ids import PredictionIds
from serving.journal.format import Entry
from serving.journal.tables import Connection

Row = tuple[Any, ...]
Put = Callable[[Connection, Sequence[Row]], None]

PREDICTION_COLUMNS = (
    "prediction_id",
    "created_at",
    "model",
    "version",
    "role",
    "entity_key",
    "features",
    "prediction",
    "probability",
    "latency_ms",
    "caller",
    "request_id",
)
FEEDBACK_COLUMNS = ("model", "subject", "key", "outcome", "observed_at", "received_at", "caller")
_COPY = f"COPY predictions ({', '.join(PREDICTION_COLUMNS)}) FROM STDIN"
_COPY_INCOMING = f"COPY incoming ({', '.join(PREDICTION_COLUMNS)}) FROM STDIN"
# The outcome that was observed last stays, whatever came first; the same one again only counts.
_UPSERT = """
INSERT INTO feedback AS f (model, subject, key, outcome, observed_at, received_at, caller)
VALUES (%s, %s, %s, %s::jsonb, to_timestamp(%s), to_timestamp(%s), %s)
ON CONFLICT (model, subject, key) DO UPDATE SET
    (outcome, observed_at, received_at, caller, times) = (
        SELECT n.outcome, n.observed_at, n.received_at, n.caller, f.times + 1
        FROM (VALUES
            (excluded.outcome, excluded.observed_at, excluded.received_at, excluded.caller, true),
            (f.outcome, f.observed_at, f.received_at, f.caller, false)
        ) AS n (outcome, observed_at, received_at, caller, is_new)
        WHERE n.is_new = (
            (excluded.outcome, excluded.observed_at) IS DISTINCT FROM (f.outcome, f.observed_at)
            AND coalesce(excluded.observed_at, excluded.received_at) >= coalesce(f.observed_at, f.received_at)
        )
    )
"""
# SQLSTATEs that the rows themselves cause, so that the same rows fail every time: data exceptions, limits of
# PostgreSQL, a null where there may be none. All others are waited out.
_AT_FAULT = ("22", "54", "23502")


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that PostgreSQL does not take, and why."""

    row: Row
    reason: str


def prediction_rows(entry: Entry, made_at: datetime) -> Iterator[Row]:
    """Yield the rows of an entry of predictions, made at `made_at`, in the order of `PREDICTION_COLUMNS`.

    Raises:
        KeyError, TypeError, ValueError: it is no such entry.
    """
    predictions = entry["predictions"]
    count = len(predictions)
    columns = entry["columns"]
    names = list(columns)
    values: Iterator[Row] = zip(*columns.values(), strict=True) if columns else iter([()] * count)
    created_at = made_at.isoformat()
    model, version, role, latency = entry["model"], entry["version"], entry["role"], entry["latency_ms"]
    caller, request_id = printable(entry["caller"]), printable(entry["request_id"])
    nothing = [None] * count
    for identity, row, key, prediction, probability in zip(
        PredictionIds(entry["id"], count).texts(),
        values,
        entry["entity_keys"] or nothing,
        predictions,
        entry["probabilities"] or nothing,
        strict=True,
    ):
        yield (
            identity,
            created_at,
            model,
            version,
            role,
            key,
            orjson.dumps(dict(zip(names, row, strict=True))).decode(),
            orjson.dumps(prediction).decode(),
            probability,
            latency,
            caller,
            request_id,
        )


def feedback_rows(entry: Entry) -> Iterator[Row]:
    """Yield the rows of an entry of feedback, in the order of `FEEDBACK_COLUMNS`; times are in seconds.

    Raises:
        KeyError, TypeError, ValueError: it is no such entry.
    """
    model, received_at, caller = entry["model"], entry["at"], printable(entry["caller"])
    for item in entry["items"]:
        by_id = item["prediction_id"] is not None
        subject, key = ("prediction", item["prediction_id"]) if by_id else ("entity", item["entity_key"])
        outcome = orjson.dumps(item["outcome"]).decode()
        yield (model, subject, key, outcome, item["observed_at"], received_at, caller)


def printable(text: str) -> str:
    """Return a text without NUL, which PostgreSQL cannot keep."""
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def put_predictions(connection: Connection, rows: Sequence[Row]) -> list[Refused]:
    """Add rows within a transaction; return those that PostgreSQL refuses for what is in them.

    Raises:
        psycopg.Error: anything else; nothing is added then.
    """
    try:
        return _put(connection, rows, _copy)
    except psycopg.errors.UniqueViolation:
        # A journal that was restored from a copy: what is there already stays.
        return _put(connection, rows, _copy_missing)


def put_feedback(connection: Connection, rows: Sequence[Row]) -> list[Refused]:
    """Do for feedback what `put_predictions` does."""
    return _put(connection, rows, _upsert)


def _put(connection: Connection, rows: Sequence[Row], put: Put) -> list[Refused]:
    if not rows:
        return []
    try:
        with connection.transaction():
            put(connection, rows)
    except psycopg.Error as exc:
        if not _at_fault(exc):
            raise
        if len(rows) == 1:
            return [Refused(rows[0], str(exc).partition("\n")[0])]
        half = len(rows) // 2
        return _put(connection, rows[:half], put) + _put(connection, rows[half:], put)
    return []


def _at_fault(exc: psycopg.Error) -> bool:
    # psycopg itself refuses a text with NUL, and then there is no SQLSTATE.
    return isinstance(exc, psycopg.DataError) or (exc.sqlstate or "").startswith(_AT_FAULT)


def _copy(connection: Connection, rows: Sequence[Row], statement: str = _COPY) -> None:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _copy_missing(connection: Connection, rows: Sequence[Row]) -> None:
    connection.execute("CREATE TEMPORARY TABLE incoming (LIKE predictions) ON COMMIT DROP")
    _copy(connection, rows, _COPY_INCOMING)
    connection.execute("INSERT INTO predictions SELECT * FROM incoming ON CONFLICT DO NOTHING")
    connection.execute("DROP TABLE incoming")


def _upsert(connection: Connection, rows: Sequence[Row]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(_UPSERT, rows)
