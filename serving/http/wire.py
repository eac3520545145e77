"""A request and a response as the data plane sees them: thin over ASGI, since every microsecond of these is paid on
each prediction."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from serving.errors import RequestError

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what the key allows: `predict`, `feedback`, `admin`, `metrics`."""

    name: str
    scopes: frozenset[str]


class HttpRequest:
    """One HTTP request."""

    __slots__ = ("_receive", "caller", "headers", "method", "model", "path", "query", "request_id", "started")

    def __init__(self, scope: Scope, receive: Receive, caller: Caller, request_id: str, started: float) -> None:
        """Wrap an ASGI scope.

        Args:
            caller: whom the key proved.
            request_id: the id that the answer and every log line carry.
            started: `time.perf_counter()` at arrival.
        """
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.caller = caller
        self.request_id = request_id
        self.started = started
        self.model: Any = None
        """The version that answers (`ServedModel`), once it is chosen."""
        self._receive = receive

    def header(self, name: str) -> str:
        """Return a header's value, or the empty string."""
        return self.headers.get(name.lower().encode(), b"").decode("latin-1")

    def parameter(self, name: str) -> str | None:
        """Return a parameter of the query, or None."""
        return parse_qs(self.query.decode("latin-1")).get(name, [None])[0] if self.query else None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            RequestError: 400, the caller went away before its end.
        """
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise RequestError(400, "the connection was closed before the whole body had come")
            more = message.get("more_body", False)
            if chunk := message.get("body", b""):
                yield chunk

    async def gone(self) -> None:
        """Return once the caller has closed the connection; to be awaited only after the whole body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def body(self, max_bytes: int) -> bytes:
        """Read the whole body.

        Raises:
            RequestError: 413 if it is larger than `max_bytes`, 400 if it ended too early.
        """
        declared = self.headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > max_bytes:
            raise too_large(max_bytes)
        message = await self._receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            whole: bytes = message.get("body", b"")
            if len(whole) > max_bytes:
                raise too_large(max_bytes)
            return whole
        if message["type"] == "http.disconnect":
            raise RequestError(400, "the connection was closed before the whole body had come")
        parts, size = [message.get("body", b"")], len(message.get("body", b""))
        async for chunk in self.chunks():
            size += len(chunk)
            parts.append(chunk)
            if size > max_bytes:
                break
        if size > max_bytes:
            raise too_large(max_bytes)
        return b"".join(parts)


@dataclass(slots=True)
class HttpResponse:
    """One HTTP answer. A body that is an iterator is sent as it comes."""

    status: int
    body: bytes | AsyncIterator[bytes]
    content_type: str = JSON
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    async def send(self, send: Send, more_headers: list[tuple[bytes, bytes]]) -> None:
        """Send it."""
        headers = [(b"content-type", self.content_type.encode()), *self.headers, *more_headers]
        if isinstance(self.body, bytes):
            headers.append((b"content-length", str(len(self.body)).encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if isinstance(self.body, bytes):
            await send({"type": "http.response.body", "body": self.body})
            return
        async for chunk in self.body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def json_answer(content: Any, status: int = 200) -> HttpResponse:
    """Return `content` as a JSON answer."""
    return HttpResponse(status, orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY))


def too_large(max_bytes: int) -> RequestError:
    """Return the refusal of a body of more than `max_bytes`."""
    return RequestError(413, f"the body is larger than {max_bytes} bytes; send fewer records in a request")
