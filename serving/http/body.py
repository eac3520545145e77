"""From the bytes of a request to JSON."""

import json
from collections.abc import Collection
from typing import Any

import orjson

from serving.errors import RequestError, show
from serving.http.wire import JSON, HttpRequest

_PLAIN_JSON = JSON.encode()


def check_content(request: HttpRequest, accepted: Collection[str] = (JSON,)) -> str:
    """Return the request's media type, in small letters and without parameters.

    Raises:
        RequestError: 415, it is none of `accepted`, or the body is encoded.
    """
    given = request.headers.get(b"content-type", b"")
    if given == _PLAIN_JSON and JSON in accepted and b"content-encoding" not in request.headers:
        return JSON
    media_type = given.partition(b";")[0].strip().lower().decode("latin-1")
    if media_type not in accepted:
        got = show(given.decode("latin-1")) if given else "none"
        raise RequestError(415, f"expected Content-Type {' or '.join(accepted)}, got {got}")
    encoding = request.headers.get(b"content-encoding", b"identity").decode("latin-1")
    if encoding.lower() != "identity":
        raise RequestError(415, f"expected a body without Content-Encoding, got {show(encoding)}")
    return media_type


async def read_json(request: HttpRequest, max_bytes: int) -> Any:
    """Read a JSON body.

    Raises:
        RequestError: 415, 413 or 400.
    """
    check_content(request)
    return parse_json(await request.body(max_bytes))


def parse_json(body: bytes, *, nan_is_null: bool = False) -> Any:
    """Parse JSON, and NaN and Infinity as Python writes them, so that the answer can name the field.

    Args:
        body: the JSON.
        nan_is_null: whether NaN means a missing value.

    Raises:
        RequestError: 400, it is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        if b"NaN" in body or b"Infinity" in body:
            try:
                return json.loads(body, parse_constant=_constant_or_null if nan_is_null else None)
            except (ValueError, RecursionError):
                pass
        raise RequestError(400, f"the body is not JSON: {exc}") from exc


def _constant_or_null(name: str) -> float | None:
    return None if name == "NaN" else float(name)
