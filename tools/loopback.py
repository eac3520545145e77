"""One HTTP request to a server on loopback. Standard library only."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; the names of `headers` are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


def call(
    port: int, method: str, path: str, body: bytes | None, headers: Mapping[str, str], *, timeout: float = 30.0
) -> Answer:
    """Send a request on a connection of its own; `timeout` is in seconds for each wait on the socket.

    Raises:
        OSError: nobody answers.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        content = response.read()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)
    except http.client.HTTPException as exc:
        raise ConnectionError(f"the connection broke: {type(exc).__name__}: {exc}") from exc
    finally:
        connection.close()
