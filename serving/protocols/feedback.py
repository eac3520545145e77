"""What turned out to be true: outcomes by prediction id or by entity key, late, repeated, one or many."""

import uuid
from datetime import UTC, datetime
from typing import Any

from serving.errors import RequestError, show
from serving.http.body import read_json
from serving.http.routes import Route
from serving.http.wire import HttpRequest, HttpResponse, json_answer
from serving.journal.format import Feedback
from serving.models.signature import MAX_ENTITY_KEY_LENGTH
from serving.plane.plane import Plane

MAX_ITEMS = 100_000
_LARGEST = 1.7976931348623157e308
_SHAPE = '{"feedback": [{"prediction_id": "…" or "entity_key": "…", "outcome": value, "observed_at": "…"}, …]}'
_KEYS = frozenset({"prediction_id", "entity_key", "outcome", "observed_at"})


async def feedback(plane: Plane, request: HttpRequest, model: str) -> HttpResponse:
    """Answer `POST /models/{model}/feedback`: 202, since predictions may still be on their way to the database.

    A model that is known but has no version ready takes feedback all the same: outcomes come late.
    """
    plane.catalog.known(model)
    items = parse_feedback(await read_json(request, plane.settings.max_body_bytes))
    plane.journal.feedback(model, items, request)
    if plane.journal.strict:
        await plane.journal.durable()
    plane.metrics.feedback.labels(model).inc(len(items))
    return json_answer({"model": model, "accepted": len(items)}, 202)


def parse_feedback(content: Any) -> list[Feedback]:
    """Return the outcomes in a body.

    Raises:
        RequestError: 400, it is not of the shape; 422, an item is wrong.
    """
    if not isinstance(content, dict) or set(content) != {"feedback"} or not isinstance(content["feedback"], list):
        raise RequestError(400, f"expected a body like {_SHAPE}")
    items = content["feedback"]
    if not 0 < len(items) <= MAX_ITEMS:
        raise RequestError(400, f'"feedback": expected 1 to {MAX_ITEMS} items, got {len(items)}')
    return [_item(row, item) for row, item in enumerate(items)]


def _item(row: int, item: Any) -> Feedback:
    if not isinstance(item, dict) or not item.keys() <= _KEYS:
        raise _wrong(row, None, f"an object of {', '.join(sorted(_KEYS))}", item)
    if ("prediction_id" in item) == ("entity_key" in item):
        raise _wrong(row, None, "either prediction_id or entity_key", item)
    outcome = item.get("outcome")
    if not _is_outcome(outcome):
        raise _wrong(row, "outcome", "a number, a text (without NUL), true or false", outcome)
    return Feedback(_prediction_id(row, item), _entity_key(row, item), outcome, _observed_at(row, item))


def _prediction_id(row: int, item: dict[str, Any]) -> str | None:
    if "prediction_id" not in item:
        return None
    try:
        return str(uuid.UUID(item["prediction_id"]))
    except (ValueError, AttributeError, TypeError):
        raise _wrong(row, "prediction_id", "an id that a prediction was answered with", item["prediction_id"]) from None


def _entity_key(row: int, item: dict[str, Any]) -> str | None:
    if "entity_key" not in item:
        return None
    key = item["entity_key"]
    key = str(key) if type(key) is int else key
    if type(key) is not str or not 0 < len(key) <= MAX_ENTITY_KEY_LENGTH or not _storable(key):
        raise _wrong(row, "entity_key", f"a text of 1 to {MAX_ENTITY_KEY_LENGTH} characters, or an integer", key)
    return key


def _observed_at(row: int, item: dict[str, Any]) -> float | None:
    raw = item.get("observed_at")
    if raw is None:
        return None
    try:
        moment = datetime.fromisoformat(raw)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        raise _wrong(row, "observed_at", "an ISO 8601 date and time, or null", raw) from None


def _is_outcome(value: Any) -> bool:
    if isinstance(value, str):
        return _storable(value)
    return isinstance(value, (int, float)) and -_LARGEST <= value <= _LARGEST


def _storable(text: str) -> bool:
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False


def _wrong(row: int, field: str | None, expected: str, got: Any) -> RequestError:
    where = f"item {row}" + (f", {field}" if field else "")
    finding = {"row": row, "field": field, "expected": expected, "got": show(got)}
    return RequestError(422, f"{where}: expected {expected}, got {show(got)}", [finding])


ROUTES = [Route("POST", "/models/{model}/feedback", "feedback", feedback)]
