"""The edges of the model server in memory: a registry of directories, a PostgreSQL that keeps rows, an ASGI client."""

import asyncio
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from contract import DIGEST_TAG, artifact_digest
from serving.models.registry import Version


class FakeRegistry:
    """A registry whose versions are directories of this machine."""

    def __init__(self) -> None:
        self.by_model: dict[str, dict[str, int]] = {}
        self.versions: dict[tuple[str, int], tuple[Path, dict[str, str]]] = {}
        self.down = False
        self.reads = 0
        self.downloads = 0
        self.blocked: dict[str | tuple[str, int], threading.Event] = {}
        """Downloads of these models or versions wait for their event."""
        self.written: list[tuple[str, int, str, str | None]] = []
        """Each tag that was set, or taken away (None)."""

    def add(self, name: str, directory: Path, tags: dict[str, str] | None = None, *, champion: bool = True) -> int:
        """Register a version; without `tags` it gets the right digest and nothing else."""
        number = 1 + max((number for model, number in self.versions if model == name), default=0)
        self.versions[name, number] = (directory, {DIGEST_TAG: artifact_digest(directory)} if tags is None else tags)
        self.by_model.setdefault(name, {})
        if champion:
            self.by_model[name]["champion"] = number
        return number

    def tag(self, name: str, number: int, key: str) -> str | None:
        """What a tag of a version is now."""
        return self.versions[name, number][1].get(key)

    def aliases(self) -> dict[str, dict[str, int]]:
        self._answer()
        self.reads += 1
        return {name: dict(aliases) for name, aliases in self.by_model.items()}

    def version(self, name: str, number: int) -> Version:
        self._answer()
        directory, tags = self.versions[name, number]
        return Version(name, number, f"run-{number}", dict(tags), str(directory))

    def download(self, version: Version, parent: Path) -> Path:
        self._answer()
        self.downloads += 1
        for key in (version.name, (version.name, version.number)):
            assert key not in self.blocked or self.blocked[key].wait(60)
        return Path(shutil.copytree(version.artifact_uri, parent / "artifacts"))

    def set_tag(self, name: str, number: int, key: str, value: str) -> None:
        self._answer()
        self.versions[name, number][1][key] = value
        self.written.append((name, number, key, value))

    def delete_tag(self, name: str, number: int, key: str) -> None:
        self._answer()
        self.versions[name, number][1].pop(key, None)
        self.written.append((name, number, key, None))

    def _answer(self) -> None:
        if self.down:
            raise ConnectionError("connection refused")


@dataclass
class FakePostgres:
    """Stands in for `psycopg.connect` and keeps the rows that were inserted."""

    rows: dict[Any, tuple[Any, ...]] = field(default_factory=dict)
    down: bool = False
    refuse: Callable[[tuple[Any, ...]], bool] = lambda _: False
    inserts: list[int] = field(default_factory=list)

    def connect(self, *_: Any, **__: Any) -> "FakePostgres":
        self._answer()
        return self

    def transaction(self) -> AbstractContextManager[None]:
        return nullcontext()

    def execute(self, statement: str, columns: list[list[Any]] | None = None, *, prepare: bool = False) -> None:
        self._answer()
        if columns is None:
            return
        rows = list(zip(*columns, strict=True))
        if any(self.refuse(row) for row in rows):
            raise psycopg.DataError("cannot take this row")
        self.inserts.append(len(rows))
        self.rows.update((row[0], row) for row in rows)

    def close(self) -> None:
        pass

    def _answer(self) -> None:
        if self.down:
            raise psycopg.OperationalError("connection refused")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class AsgiClient:
    """Calls an ASGI application in this process, one request after the other."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop, headers: dict[str, str]) -> None:
        self._app = app
        self._loop = loop
        self._headers = headers

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, [], headers)

    def post(self, path: str, content: Any, **headers: str) -> Answer:
        """Send bytes as they are, a list of bytes in pieces, anything else as JSON."""
        chunks = content if isinstance(content, list) else [content]
        pieces = [chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() for chunk in chunks]
        return self.call("POST", path, pieces, {"content_type": "application/json"} | headers)

    def call(self, method: str, path: str, chunks: Iterable[bytes], headers: dict[str, str]) -> Answer:
        renamed = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {name: value for name, value in (self._headers | renamed).items() if value}
        return self._loop.run_until_complete(self._call(method, path, list(chunks), merged))

    async def _call(self, method: str, path: str, chunks: list[bytes], headers: dict[str, str]) -> Answer:
        sent: list[dict[str, Any]] = []
        messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        messages.append({"type": "http.request", "body": b"", "more_body": False})

        async def receive() -> dict[str, Any]:
            # After the body the caller stays connected and sends nothing more.
            return messages.pop(0) if messages else await asyncio.Future()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": urlsplit(path).path,
            "raw_path": path.encode(),
            "query_string": urlsplit(path).query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "server": ("test", 80),
            "client": ("test", 1),
        }
        await self._app(scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        content = b"".join(message.get("body", b"") for message in sent)
        return Answer(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, content)


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Return once `condition` holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)
