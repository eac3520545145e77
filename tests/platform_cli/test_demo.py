from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from platform_cli.clients.airflow import DagRun
from platform_cli.demo.book import Book, Row
from platform_cli.demo.sample import PARTS, Sample
from platform_cli.demo.year import parse_months
from platform_cli.errors import UsageError


def row(month: int, **changes: Any) -> Row:
    values: dict[str, Any] = {
        "month": month,
        "rows": 100,
        "frozen": 0.65,
        "platform": 0.70,
        "versions": {"1": 40, "2": 60},
        "drift": True,
        "drift_share": 0.4,
        "drifted": ["temperature"],
        "lost_performance": False,
        "trigger": "drift",
        "candidate": month,
        "gate": "passed",
        "released": "version 2 promoted",
    }
    return Row(**values | changes)


def test_months_are_a_range_with_one_to_arrive() -> None:
    assert parse_months("1-12") == list(range(1, 13))
    assert parse_months("2-4") == [2, 3, 4]
    for wrong in ("", "3", "1-2", "0-4", "1-13", "a-b", "5-3"):
        with pytest.raises(UsageError):
            parse_months(wrong)


def test_a_year_goes_on_where_it_was(tmp_path: Path) -> None:
    book = Book.open(tmp_path / "year.json")
    assert (book.start, book.rows) == ("", [])
    book.start, book.first = "1-2", 1
    book.rows.append(row(3))
    book.save()
    again = Book.open(tmp_path / "year.json")
    assert again == book
    assert again.has(3)
    assert not again.has(4)


def test_the_year_in_figures(tmp_path: Path) -> None:
    book = Book(tmp_path / "year.json")
    assert book.summary()["mean_gain"] is None
    book.rows = [
        row(3, platform=0.64, released=None, candidate=None, gate=None, trigger=None),
        row(4, gate="refused: roc_auc"),
        row(5, platform=0.72, released="version 4 rolled back"),
        row(6),
    ]
    figures = book.summary()
    assert figures["mean_gain"] == pytest.approx(0.0400)
    assert figures["worst_gain"] == pytest.approx(-0.01)
    counts = ("months", "trainings", "refused", "released", "rolled_back")
    assert [figures[name] for name in counts] == [4, 3, 1, 2, 1]


def test_the_table_says_what_happened(tmp_path: Path) -> None:
    book = Book(tmp_path / "year.json", rows=[row(3), row(4, gate="refused: roc_auc", released=None, drift=False)])
    console = Console(width=200)
    with console.capture() as captured:
        console.print(book.table())
    march, april = captured.get().splitlines()[2:4]
    assert march.split()[:7] == ["Mar", "100", "40%", "!", "0.6500", "0.7000", "+0.0500"]
    assert "v1 v2" in march
    assert "drift → version 3" in march
    assert april.rstrip().endswith("drift → version 4 (refused)")


class Told:
    """Stands for Airflow: the release is over when it has been asked about `asked` times."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    def run(self, run: DagRun) -> DagRun:
        self.left -= 1
        state = "running" if self.left >= 0 else "success"
        return DagRun(run.dag_id, run.run_id, state, run.run_after, None, None)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parts that are sent, in order."""
    parts: list[str] = []
    monkeypatch.setattr(Sample, "step", lambda self, name, *options, told=True: parts.append(options[-1]))
    return parts


WATCH = DagRun("flight_delay__release", "r", "running", datetime(2024, 1, 1, tzinfo=UTC), None, None)


def test_a_release_that_is_over_gets_no_traffic(sent: list[str]) -> None:
    Sample(None, Told(0)).send_until_released(7, 1000, WATCH)  # type: ignore[arg-type]
    assert sent == []


def test_the_last_part_of_a_month_is_sent_over_and_over(sent: list[str]) -> None:
    Sample(None, Told(4)).send_until_released(7, 1000, WATCH, first=PARTS - 1)  # type: ignore[arg-type]
    assert sent == [f"{PARTS - 1}/{PARTS}", f"{PARTS}/{PARTS}"] * 2


class Paused:
    """Stands for Airflow: writes down which DAGs are paused when."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self, dag_id: str) -> None:
        self.told.append(f"pause {dag_id}")

    def unpause(self, dag_id: str) -> None:
        self.told.append(f"unpause {dag_id}")


def test_the_monitor_waits_for_the_requests_and_is_let_go_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = Paused()
    sample = Sample(None, airflow)  # type: ignore[arg-type]
    monkeypatch.setattr(Sample, "_ingest", lambda self, months: airflow.told.append(f"ingest {months}"))
    with pytest.raises(KeyboardInterrupt), sample.requests_first(4):
        raise KeyboardInterrupt
    assert airflow.told == ["pause flight_delay__monitor", "ingest 4", "unpause flight_delay__monitor"]


def test_traffic_goes_on_until_the_release_has_ended(sent: list[str]) -> None:
    Sample(None, Told(PARTS + 1)).send_until_released(7, 1000, WATCH)  # type: ignore[arg-type]
    assert sent == [*(f"{part}/{PARTS}" for part in range(1, PARTS + 1)), f"1/{PARTS}"]
