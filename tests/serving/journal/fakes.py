"""Answers and requests as the journal sees them, and what stands in a journal's directory.

`python fakes.py write DIRECTORY DURABILITY` writes without end and prints the base id of each answer that may
leave; `… ship DIRECTORY URL WHERE` ships until it kills itself at `WHERE`.
"""

import asyncio
import itertools
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.ids import PredictionIds
from serving.journal import rows, ship
from serving.journal.format import Entry
from serving.journal.journal import Journal
from serving.journal.tail import read_parts

FIELDS = 12
BIG = 1 << 40
REQUEST: Any = SimpleNamespace(caller=SimpleNamespace(name="client"), request_id="r-1")


def fake_metrics() -> Any:
    registry = CollectorRegistry()
    return SimpleNamespace(
        journal_errors=Counter("errors", "…", registry=registry),
        journal_sync=Histogram("sync", "…", registry=registry),
    )


def answer(
    count: int = 1,
    *,
    model: str = "m",
    role: str = "champion",
    keys: Sequence[str | None] | None = None,
    ids: PredictionIds | None = None,
    **columns: list[Any],
) -> Any:
    """An answer of version 3 with `FIELDS` numbers a row, and predictions that say which row they are."""
    numbers = {f"x{field}": [row + field / 100 for row in range(count)] for field in range(FIELDS)}
    return SimpleNamespace(
        model=SimpleNamespace(name=model, version=3, role=role, entity_key="id" if keys else None),
        rows=SimpleNamespace(count=count, columns=columns or numbers, entity_keys=keys or [None] * count),
        scores=SimpleNamespace(predictions=list(range(count)), probabilities=[0.25] * count),
        ids=ids or PredictionIds.drawn(count),
    )


def relaxed(directory: Path, **options: Any) -> Journal:
    """A journal that is not started."""
    defaults = {"durability": "relaxed", "metrics": fake_metrics(), "sync_seconds": 0.01, "max_bytes": BIG}
    return Journal(directory, **(defaults | options))


@asynccontextmanager
async def running(directory: Path, **options: Any) -> AsyncIterator[Journal]:
    journal = relaxed(directory, **options)
    journal.start()
    yield journal
    await journal.stop()


def write(journal: Journal, count: int = 1) -> str:
    one = answer(count)
    journal.predictions(one, REQUEST, 1.5)
    return str(one.ids.base)


def kept(directory: Path) -> list[str]:
    return [entry["id"] for entry in entries(directory)]


def written(directory: Path, *answers: Any) -> None:
    """Write answers to a segment of their own, and close it."""

    async def write() -> None:
        journal = relaxed(directory)
        journal.start()
        for one in answers:
            journal.predictions(one, REQUEST, 1.5)
        await journal.stop()

    asyncio.run(write())


def entries(directory: Path) -> list[Entry]:
    """All entries in all segments, damaged lines left out."""
    parts = read_parts(directory, {}, BIG)
    return [line.entry for part in parts for line in part.lines if line.entry is not None]


def command(*words: str) -> list[str]:
    """This file as a program."""
    return [sys.executable, __file__, *words]


def _write_forever(directory: str, durability: str) -> None:
    async def write() -> None:
        journal = relaxed(Path(directory), durability=durability, max_bytes=64 * 1024 * 1024)
        journal.start()
        for count in itertools.cycle((1, 3, 200)):
            one = answer(count)
            journal.predictions(one, REQUEST, 1.5)
            await journal.durable()
            os.write(1, f"{one.ids.base} {one.ids.count}\n".encode())

    asyncio.run(write())


def _ship_until(directory: str, url: str, where: str) -> None:
    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    put = ship.Group.put

    def copy_half(connection: Any, all_rows: Sequence[Any]) -> None:
        with connection.cursor() as cursor, cursor.copy(rows._COPY) as going:
            for row in all_rows[: len(all_rows) // 2]:
                going.write_row(row)
            die()

    def put_all(self: ship.Group, connection: Any) -> None:
        put(self, connection)
        die()

    patches: dict[str, tuple[Any, str, Any]] = {
        "in the middle of COPY": (rows, "_copy", copy_half),
        "before commit": (ship.Group, "put", put_all),
        "after commit": (ship.Shipper, "_count", die),
        "before delete": (Path, "unlink", die),
    }
    if where in patches:
        setattr(*patches[where])
    ship.Shipper(Path(directory), url, 0).run(threading.Event())


if __name__ == "__main__":
    {"write": _write_forever, "ship": _ship_until}[sys.argv[1]](*sys.argv[2:])
