"""From the bytes of a request to records."""

import json
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from serving.errors import RequestError, show

JSON = "application/json"
_SHAPE = '{"records": [{"field": value, …}, …]}'


async def read_records(request: Request, max_bytes: int) -> list[Any]:
    """Read and parse the body of a prediction request; the records themselves are not looked at.

    Raises:
        RequestError: 415, 413 or 400.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != JSON:
        raise RequestError(415, f"expected Content-Type {JSON}, got {show(content_type) if content_type else 'none'}")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        raise RequestError(415, f"expected a body without Content-Encoding, got {show(encoding)}")
    return parse_records(await _read(request, max_bytes))


def parse_records(body: bytes) -> list[Any]:
    """Return the records in a body of the shape `{"records": [...]}`.

    Raises:
        RequestError: 400, it is not JSON or not of that shape.
    """
    content = _parse(body)
    if not isinstance(content, dict) or "records" not in content:
        raise RequestError(400, f"expected a body like {_SHAPE}, got {_describe(content)}")
    unknown = [name for name in content if name != "records"]
    if unknown:
        raise RequestError(400, f'unknown key {show(unknown[0])} beside "records"; expected a body like {_SHAPE}')
    records = content["records"]
    if not isinstance(records, list) or not records:
        got = "an empty list" if records == [] else show(records)
        raise RequestError(400, f'"records": expected a list of at least one record, got {got}')
    return records


async def _read(request: Request, max_bytes: int) -> bytes:
    too_large = RequestError(413, f"the body is larger than {max_bytes} bytes; send fewer records in a request")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise too_large
            chunks.append(chunk)
    except ClientDisconnect:
        raise RequestError(400, "the connection was closed before the whole body had come") from None
    return b"".join(chunks)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        # NaN and Infinity are no JSON, but what Python's json writes: parsed, so that the answer can name the field.
        if b"NaN" in body or b"Infinity" in body:
            try:
                return json.loads(body)
            except (ValueError, RecursionError):
                pass
        raise RequestError(400, f"the body is not JSON: {exc}") from exc


def _describe(content: Any) -> str:
    if not isinstance(content, dict):
        return show(content)
    return f"an object with {', '.join(show(name) for name in list(content)[:5])}" if content else "an empty object"
