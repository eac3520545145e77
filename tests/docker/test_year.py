"""`platform demo --year` in containers: the sample's loop through the gateway keeps up with a month by itself.

What becomes of a poisoned month is in tests/e2e: test_ingestion.py and test_triggers.py; that a new model is better
than the one before, on what that has not seen, in test_second_project.py; the demo of a day in test_loop.py.
"""

from __future__ import annotations

import json
import os
from typing import Any

from platform_cli.docker.engine import Engine
from tests.docker.inside import in_a_step
from tools.scratch import Stack

ANSWERED = "SELECT role, count(*) FROM predictions WHERE version = 2 GROUP BY role"
DECIDED = "SELECT trigger, train FROM triggers.decisions WHERE project = 'flight_delay' ORDER BY id"


def book_of(stack: Stack) -> dict[str, Any]:
    return dict(json.loads((stack.home / "state/year.json").read_text()))


def rows(engine: Engine, stack: Stack, url: str, query: str) -> list[list[Any]]:
    """The rows of a query in the database that a variable of the steps names."""
    program = f"import json, os, psycopg; found = psycopg.connect(os.environ[{url!r}]).execute({query!r}).fetchall()"
    return list(json.loads(in_a_step(engine, stack, f"{program}; print(json.dumps(found))")))


def test_march_retrains_and_releases_by_canary(stack: Stack, engine: Engine, year: str) -> None:
    assert "Traceback" not in year
    chart = stack.home / "state/year.png"
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert chart.stat().st_uid == os.geteuid()
    book = book_of(stack)
    (march,) = book["rows"]
    assert march["month"] == 3
    # In March nobody but the first model answered, so both figures are of the same answers.
    assert march["versions"] == {"1": march["rows"]}
    assert abs(march["platform"] - march["frozen"]) < 1e-4
    assert march["trigger"] in ("drift", "performance")
    assert march["candidate"] == 2
    assert march["released"] == "version 2 promoted"
    assert book["summary"]["released"] == 1
    # The canary's step of 10 % saw 200 predictions, that of 50 % another 500.
    assert dict(rows(engine, stack, "PREDICTIONS_URL", ANSWERED))["canary"] >= 700
    decided = rows(engine, stack, "WAREHOUSE_URL", DECIDED)
    assert decided[:2] == [["new_data", True], ["new_data", False]]
    assert decided[2][1] is True


def test_a_year_that_was_told_is_not_told_again(stack: Stack, year: str) -> None:
    before = book_of(stack)["rows"]
    again = stack.platform("demo", "--year", "--months", "1-3", check=True)
    assert "arrives" not in again.stderr
    assert book_of(stack)["rows"] == before
    refused = stack.platform("demo", "--year", "--months", "2-4")
    assert refused.returncode == 1
    assert "the year begins without a model" in refused.stderr
