"""Who calls: every path but the health checks wants a key."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN_PATHS = frozenset({"/healthz", "/readyz"})


class Keys:
    """The API keys, held as digests."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """Take the key of each caller by the caller's name."""
        self._digests = {name: _digest(key) for name, key in keys.items()}

    def caller(self, authorization: str | None) -> str | None:
        """Return the name of the caller that an `Authorization` header proves, or None.

        Every key is compared, in constant time, so that the answer's timing tells nothing about any of them.
        """
        presented = _digest(_presented_key(authorization or ""))
        found = None
        for name, digest in self._digests.items():
            if hmac.compare_digest(digest, presented):
                found = name
        return found


class Authentication:
    """ASGI middleware: 401 without a valid key, else the caller's name in `request.state.caller`."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        """Guard `app` by `keys`."""
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that may pass, answer 401 to the others."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        caller = self._keys.caller(Headers(scope=scope).get("authorization"))
        if caller is None:
            await _unauthorized(scope["method"])(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)


def _unauthorized(method: str) -> JSONResponse:
    # A browser that opens /docs can only answer a Basic challenge: any user name, the key as password.
    challenge = 'Basic realm="model server: any user name, an API key as password"' if method == "GET" else "Bearer"
    message = (
        "no valid API key: send the header 'Authorization: Bearer KEY'; "
        "`platform credentials serving` shows a key of this server"
    )
    return JSONResponse({"error": message}, status_code=401, headers={"WWW-Authenticate": challenge})


def _presented_key(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
