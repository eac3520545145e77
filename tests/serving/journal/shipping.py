"""Segments to ship, and what has arrived in PostgreSQL."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from serving.ids import PredictionIds
from serving.journal.aside import ASIDE_FILE
from serving.journal.format import Feedback, feedback_line, predictions_line
from serving.journal.segments import Segment
from serving.journal.ship import Shipper
from tests.serving.journal.fakes import BIG, REQUEST, answer
from tools.postgres import Postgres


def ship_all(shipper: Shipper) -> None:
    while shipper.round():
        pass


def ask(postgres: Postgres, query: str, role: str = "serving") -> list[Any]:
    with psycopg.connect(postgres.url(role)) as connection:
        return connection.execute(query).fetchall()


def shipped_ids(postgres: Postgres) -> list[str]:
    return sorted(str(row[0]) for row in ask(postgres, "SELECT prediction_id FROM predictions"))


def ids_of(*answers: Any) -> list[str]:
    return sorted(identity for one in answers for identity in one.ids.texts())


def at(moment: datetime, **options: Any) -> Any:
    """An answer of one row that was made at a moment."""
    milliseconds = f"{round(moment.timestamp() * 1000):012x}"
    base = f"{milliseconds[:8]}-{milliseconds[8:]}{PredictionIds.drawn(1).base[13:]}"
    return answer(1, ids=PredictionIds(base, 1), **options)


def raw_segment(journal: Path, *lines: bytes) -> Path:
    """Write a closed segment of these lines."""
    directory = journal / "worker-7"
    directory.mkdir(exist_ok=True)
    segment = Segment.create(directory, BIG)
    for line in lines:
        segment.append(line)
    segment.close()
    return segment.path


def line(one: Any, request: Any = REQUEST) -> bytes:
    return predictions_line(one, request, 1.5)


def aside(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in (journal / ASIDE_FILE).read_text().splitlines()]


def give(shipper: Shipper, journal: Path, at: float, *items: Feedback) -> None:
    raw_segment(journal, feedback_line("m", items, REQUEST, at))
    ship_all(shipper)


@contextmanager
def running(shipper: Shipper) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=shipper.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
