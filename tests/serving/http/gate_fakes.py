"""The gate around small applications that show what comes through, and what it logs."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http.gate import Gate
from serving.http.wire import json_answer
from serving.keys.key import Key
from serving.keys.keyring import Keyring
from serving.keys.limit import RateLimit
from serving.logs import REQUEST_ID, JsonFormatter
from serving.settings import AccessLog

KEYS = [
    Key("client", frozenset({"predict", "feedback"}), sha256(b"client-key").hexdigest()),
    Key("boss", frozenset({"admin"}), sha256(b"boss-key").hexdigest()),
]
PREDICT = "/models/m/predict"


def required_scope(method: str, path: str) -> str | None:
    return {"/keys": "admin", PREDICT: "predict"}.get(path)


def make_gate(directory: Path, app: ASGIApp, access_log: AccessLog = "errors", keyring: Keyring | None = None) -> Gate:
    """A gate with the keys `client-key` (predict, feedback) and `boss-key` (admin)."""
    keyring = keyring or Keyring(KEYS, directory / "keys.json")
    return Gate(app, keyring, RateLimit(directory / "limits"), required_scope, access_log)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what the gate says of the request."""
    state = scope["state"]
    content = {"caller": state["caller"].name, "scopes": sorted(state["caller"].scopes), "id": state["request_id"]}
    await json_answer(content | {"seen_by_logs": REQUEST_ID.get()}).send(send, [(b"x-own", b"1")])


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("a secret detail\nforged line")


class Answer:
    """What was sent to the caller."""

    def __init__(self, sent: list[Any]) -> None:
        starts = [message for message in sent if message["type"] == "http.response.start"]
        assert len(starts) == 1
        self.status = starts[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in starts[0]["headers"]}
        assert len(self.headers) == len(starts[0]["headers"]), "a header stands twice"
        self.body = b"".join(message.get("body", b"") for message in sent)

    def error(self) -> str:
        return json.loads(self.body)["error"]


class Lines:
    """The lines of the server's log."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    def access(self) -> list[dict[str, Any]]:
        return [line for line in self.all() if line["logger"] == "serving.access"]


@contextmanager
def logged() -> Iterator[Lines]:
    """The lines that the server logs meanwhile, in the format that it has in earnest."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("serving")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield Lines(stream)
    logger.removeHandler(handler)
    logger.setLevel(before)


def send_request(
    app: ASGIApp, path: str = PREDICT, method: str = "POST", key: str | None = "client-key", **headers: str
) -> Answer:
    return Answer(exchange(app, path, method, key, **headers))


def exchange(app: ASGIApp, path: str, method: str, key: str | None, **headers: str) -> list[Any]:
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"token=hidden", "headers": raw}
    return run(app, scope, [{"type": "http.request", "body": b""}])


def run(app: ASGIApp, scope: dict[str, Any], incoming: list[Any]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    return sent
