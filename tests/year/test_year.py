"""`platform demo --year` on a stack of its own: the loop keeps up with a month by itself. `make test-year` runs it; it
is not among all tests, for its minutes.

What becomes of a poisoned month is in tests/e2e: test_ingestion.py and test_triggers.py; that a new model is better
than the one before, on what that has not seen, in test_second_project.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tools.scratch import Stack, new_stack

PROJECT = "flight_delay"


@dataclass(frozen=True)
class Spring:
    """A stack on which January to March have been told, and what was said meanwhile."""

    stack: Stack
    said: str

    @property
    def book(self) -> dict[str, Any]:
        return dict(json.loads((self.stack.home / "state/year.json").read_text()))


@pytest.fixture(scope="module")
def spring() -> Iterator[Spring]:
    stack = new_stack(Path(os.environ["PLATFORM_TEST_ENVS"]))
    try:
        told = stack.platform("demo", "--year", "--months", "1-3", check=True, timeout=1500)
        yield Spring(stack, told.stdout + told.stderr)
    finally:
        stack.platform("down", "--purge", "--yes")


def test_march_retrains_and_releases_by_canary(spring: Spring) -> None:
    assert "Traceback" not in spring.said
    assert (spring.stack.home / "state/year.png").read_bytes().startswith(b"\x89PNG")
    book = spring.book
    (march,) = book["rows"]
    assert march["month"] == 3
    # In March nobody but the first model answered, so both figures are of the same answers.
    assert march["versions"] == {"1": march["rows"]}
    assert abs(march["platform"] - march["frozen"]) < 1e-4
    assert march["trigger"] in ("drift", "performance")
    assert march["candidate"] == 2
    assert march["released"] == "version 2 promoted"
    assert book["summary"]["released"] == 1

    with psycopg.connect(spring.stack.env["PREDICTIONS_URL"]) as connection:
        answered = dict(
            connection.execute("SELECT role, count(*) FROM predictions WHERE version = 2 GROUP BY role").fetchall()
        )
    # The canary's step of 10 % saw 200 predictions, that of 50 % another 500.
    assert answered["canary"] >= 700
    with psycopg.connect(spring.stack.env["WAREHOUSE_URL"]) as connection:
        decided = connection.execute(
            "SELECT trigger, train FROM triggers.decisions WHERE project = %s ORDER BY id", (PROJECT,)
        ).fetchall()
    assert decided[:2] == [("new_data", True), ("new_data", False)]
    assert decided[2][1] is True


def test_a_year_that_was_told_is_not_told_again(spring: Spring) -> None:
    rows = spring.book["rows"]
    again = spring.stack.platform("demo", "--year", "--months", "1-3", check=True, timeout=300)
    assert "arrives" not in again.stderr
    assert spring.book["rows"] == rows
    refused = spring.stack.platform("demo", "--year", "--months", "2-4")
    assert refused.returncode == 1
    assert "the year begins without a model" in refused.stderr
