"""Load on a model server from a process of its own: `python load.py JOB.json`, a closed loop over a few connections.

The job file has `host`, `port`, `key`, `connections`, `seconds` and `requests`: a list of [path, body as text, name of
what is asked, further headers or nothing]. Requests go round robin over all connections, until the time is over or a
line comes in on stdin. Each answer is one line of JSON on stdout: [name, status, when it was sent in seconds since the
start, latency in seconds, body]. A connection that breaks is an answer of status 0; it is opened anew.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

_RECONNECT_SECONDS = 0.05


class Job:
    """What is sent, and for how long."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._address = content["host"], content["port"]
        self._connections = content["connections"]
        self._key = content["key"]
        self._requests = itertools.cycle([self._prepared(*request) for request in content["requests"]])
        self._seconds = content["seconds"]
        self._stop = asyncio.Event()
        self._began = time.perf_counter()

    def _prepared(self, path: str, body: str, name: str, more: dict[str, str] | None = None) -> tuple[bytes, str]:
        headers = {
            "Host": self._address[0],
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        } | (more or {})
        lines = [f"POST {path} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items()), "", body]
        return "\r\n".join(lines).encode(), name

    async def run(self) -> None:
        """Send until the time is over."""
        asyncio.get_running_loop().add_reader(sys.stdin, self._stop.set)
        await asyncio.gather(*(self._connection() for _ in range(self._connections)))

    async def _connection(self) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while time.perf_counter() - self._began < self._seconds and not self._stop.is_set():
            request, name = next(self._requests)
            sent = time.perf_counter()
            try:
                streams = streams or await asyncio.open_connection(*self._address)
                streams[1].write(request)
                status, body = await _answer(streams[0])
            except (OSError, asyncio.IncompleteReadError):
                status, body, streams = 0, "", None
                await asyncio.sleep(_RECONNECT_SECONDS)
            print(json.dumps([name, status, sent - self._began, time.perf_counter() - sent, body]))
        if streams is not None:
            streams[1].close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), body.decode()


async def main() -> None:
    """Run the job of the command line."""
    await Job(json.loads(Path(sys.argv[1]).read_text())).run()


if __name__ == "__main__":
    asyncio.run(main())
