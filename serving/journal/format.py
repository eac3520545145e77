"""Journal entries as bytes and back: one line an entry, `crc32 JSON`, so that damage is seen and stays in its line.

The checksum is that of zlib, over the JSON, as 8 hexadecimal digits. JSON holds no line break of its own.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from zlib import crc32

import orjson

from serving.ids import moment_of

if TYPE_CHECKING:
    from serving.http.wire import HttpRequest
    from serving.plane.plane import Answer

PREDICTIONS, FEEDBACK = "predictions", "feedback"
"""The kinds of entries."""
_CHECKSUM = 9
_dumps = orjson.dumps

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Feedback:
    """What turned out to be true about one prediction, or about an entity that predictions were made for."""

    prediction_id: str | None
    entity_key: str | None
    outcome: Any
    observed_at: float | None
    """In seconds since the epoch, if the caller said."""


class Line(NamedTuple):
    """One line of a segment: where it begins in what was read, and its entry, or None if it is damaged."""

    start: int
    raw: bytes
    entry: Entry | None


def predictions_line(answer: Answer, request: HttpRequest, latency_ms: float, role: str | None = None) -> bytes:
    """Return the entry of an answer. Its ids tell when it was made.

    Args:
        answer: the rows, and what a version said.
        request: what it answers.
        latency_ms: from the request's arrival until the scores were there.
        role: in which the version answered, if it is not the version's own.
    """
    model, rows, scores = answer.model, answer.rows, answer.scores
    body = _dumps(
        {
            "kind": PREDICTIONS,
            "id": answer.ids.base,
            "model": model.name,
            "version": model.version,
            "role": role or model.role,
            "caller": request.caller.name,
            "request_id": request.request_id,
            "latency_ms": latency_ms,
            "entity_keys": None if model.entity_key is None else rows.entity_keys,
            "columns": rows.columns,
            "predictions": scores.predictions,
            "probabilities": scores.probabilities,
        }
    )
    return b"%08x %b\n" % (crc32(body), body)


def feedback_line(model: str, items: Sequence[Feedback], request: HttpRequest, at: float) -> bytes:
    """Return the entry of outcomes that were received `at`, in seconds since the epoch."""
    body = _dumps(
        {
            "kind": FEEDBACK,
            "at": at,
            "model": model,
            "caller": request.caller.name,
            "request_id": request.request_id,
            "items": items,
        }
    )
    return b"%08x %b\n" % (crc32(body), body)


def read_lines(data: bytes) -> Iterator[Line]:
    """Yield the lines of whole lines, damaged ones too."""
    start = 0
    for raw in data.split(b"\n")[:-1]:
        yield Line(start, raw, _parse(raw))
        start += len(raw) + 1


def _parse(raw: bytes) -> Entry | None:
    body = raw[_CHECKSUM:]
    if raw[:_CHECKSUM] != b"%08x " % crc32(body):
        return None
    try:
        return cast(Entry, orjson.loads(body))
    except orjson.JSONDecodeError:
        return None


def moment(entry: Entry) -> datetime:
    """Return when an entry was made."""
    at = moment_of(uuid.UUID(entry["id"])) if entry["kind"] == PREDICTIONS else entry["at"]
    return datetime.fromtimestamp(at, UTC)
