"""The gate: what every request passes before anything else looks at it."""

import itertools
import logging
import math
import os
import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import RequestError
from serving.http.routes import plain_error
from serving.http.wire import Caller
from serving.keys.keyring import Keyring
from serving.keys.limit import RateLimit
from serving.logs import REQUEST_ID
from serving.settings import AccessLog

log = logging.getLogger(__name__)
access = logging.getLogger("serving.access")

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"})
"""Health, for whoever asks."""
SIGNED_PATHS = frozenset({"/webhooks/mlflow"})
"""A POST there is let in by its signature instead of a key."""
NOBODY = Caller("", frozenset())
SLOW_SECONDS = 1.0
"""A request that took longer is in the access log whatever came of it."""

_given_id = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch
_MAX_LOGGED_PATH = 300

RequiredScope = Callable[[str, str], str | None]


class Gate:
    """ASGI middleware, the outermost: request id, key, scope, rate limit, access log, and an answer to what nobody
    below caught.

    Below it, `scope["state"]` has `caller` (of no scope and no name on the open paths), `request_id` and `started`
    (`time.perf_counter()`). What a handler puts there as `log`, a dict, is added to the access log's line.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, limit: RateLimit, required_scope: RequiredScope, access_log: AccessLog
    ) -> None:
        """Guard `app`.

        Args:
            app: the application.
            keyring: the keys.
            limit: of each key that has a rate.
            required_scope: what a key has to allow for a method and a path; None: any key will do.
            access_log: `all` requests, or `errors`: those answered with 4xx or 5xx, and slow ones. A line takes 10 to
                20 µs, ten times the rest of the gate, and of what went well the metrics and the journal tell more.
        """
        self._app = app
        self._keyring = keyring
        self._limit = limit
        self._required_scope = required_scope
        self._log_all = access_log == "all"
        # Unique, and a tenth of what a UUID costs; nobody has to be unable to guess it.
        self._ids = map(f"{os.urandom(6).hex()}-{{:x}}".format, itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or see the application through its lifespan."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        started = perf_counter()
        authorization = given = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"x-request-id":
                given = value
        request_id: str = next(self._ids) if given is None or not _given_id(given) else given.decode()
        REQUEST_ID.set(request_id)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["started"] = started
        header = (b"x-request-id", request_id.encode())
        status = 0

        # Not a coroutine function: it hands on the awaitable of `send` and costs no coroutine of its own.
        def sending(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            return send(message)

        try:
            self._admit(scope, state, authorization)
            await self._app(scope, receive, sending)
        except Exception as error:
            if not isinstance(error, RequestError):
                log.exception("%s %s failed", scope["method"], _shown(scope["path"]))
                error = unexpected_error(request_id)
            if not status:
                await plain_error(error).send(sending, [])
        elapsed = perf_counter() - started
        if self._log_all or not 200 <= status < 400 or elapsed > SLOW_SECONDS:
            _log_access(scope, state, status, elapsed)

    def _admit(self, scope: Scope, state: dict[str, Any], authorization: bytes | None) -> None:
        """Let a request in, and say in `state` who calls.

        Raises:
            RequestError: 401, 403 or 429.
        """
        method, path = scope["method"], scope["path"]
        if path in OPEN_PATHS or (path in SIGNED_PATHS and method == "POST"):
            state["caller"] = NOBODY
            return
        key = self._keyring.find(authorization)
        if key is None:
            raise _unauthorized(method)
        state["caller"] = caller = key.caller
        needed = self._required_scope(method, path)
        if needed is not None and needed not in caller.scopes:
            raise _forbidden(caller, needed)
        wait = self._limit.wait(key)
        if wait:
            raise _too_many(caller, key.rate or 0.0, wait)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the lifespan on; close a websocket before it opens, since nothing here speaks it."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "this server speaks HTTP only"})
        else:
            await self._app(scope, receive, send)


def _log_access(scope: Scope, state: dict[str, Any], status: int, seconds: float) -> None:
    caller = state.get("caller", NOBODY)
    fields = {
        "caller": caller.name or None,
        "method": scope["method"],
        "path": _shown(scope["path"]),
        "status": status or None,
        "ms": round(seconds * 1000, 3),
    }
    access.info("request", extra={"fields": fields | state.get("log", {})})


def _shown(path: str) -> str:
    return path if len(path) <= _MAX_LOGGED_PATH else path[:_MAX_LOGGED_PATH] + "…"


def _unauthorized(method: str) -> RequestError:
    # A browser that opens /docs can only answer a Basic challenge: any user name, the key as password.
    challenge = 'Basic realm="model server: any user name, an API key as password"' if method == "GET" else "Bearer"
    return RequestError(
        401,
        "no valid API key: send the header 'Authorization: Bearer KEY'; "
        "`platform credentials serving` shows a key of this server",
        headers={"WWW-Authenticate": challenge},
    )


def _forbidden(caller: Caller, needed: str) -> RequestError:
    has = ", ".join(sorted(caller.scopes))
    return RequestError(
        403,
        f"the key {caller.name!r} lacks the scope {needed!r}, which this call needs; it has: {has}; "
        f"`platform keys create NAME --scope {needed}` makes a key that has it",
    )


def _too_many(caller: Caller, rate: float, wait: float) -> RequestError:
    seconds = math.ceil(wait)
    return RequestError(
        429,
        f"the key {caller.name!r} may send {rate:g} requests a second; send the next in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )


def unexpected_error(request_id: str) -> RequestError:
    """Return what a caller is told when the server itself is at fault."""
    return RequestError(500, f"an error of the model server; its log has it under request id {request_id}")
