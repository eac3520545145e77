"""`platform demo --year` on a stack of its own: the months of the sample arrive, and the loop keeps up by itself."""

from __future__ import annotations

import json

import psycopg

from tools.scratch import Stack

PROJECT = "flight_delay"


def test_a_spring_retrains_releases_by_canary_and_is_not_worse_than_the_first_model(bare_stack: Stack) -> None:
    done = bare_stack.platform("demo", "--year", "--months", "1-4", check=True, timeout=1500)
    assert "Traceback" not in done.stdout + done.stderr
    state = bare_stack.home / "state"
    book = json.loads((state / "year.json").read_text())
    assert (state / "year.png").read_bytes().startswith(b"\x89PNG")

    march, april = book["rows"]
    assert (march["month"], april["month"]) == (3, 4)
    # In March nobody but the first model answered, so both figures are of the same answers.
    assert march["versions"] == {"1": march["rows"]}
    assert abs(march["platform"] - march["frozen"]) < 1e-4
    assert march["trigger"] in ("drift", "performance")
    assert march["candidate"] == 2
    # April's first requests tried the candidate: both versions answered, then it was champion.
    assert april["released"] == "version 2 promoted"
    assert set(april["versions"]) == {"1", "2"}
    assert april["versions"]["2"] > april["versions"]["1"]
    assert april["platform"] > april["frozen"] - 0.01
    assert book["summary"]["released"] == 1

    with psycopg.connect(bare_stack.env["PREDICTIONS_URL"]) as connection:
        (answers,) = connection.execute("SELECT count(*) FROM predictions WHERE role <> 'shadow'").fetchone() or (0,)
    assert answers >= march["rows"] + april["rows"]
    with psycopg.connect(bare_stack.env["WAREHOUSE_URL"]) as connection:
        decided = connection.execute(
            "SELECT trigger, train FROM triggers.decisions WHERE project = %s ORDER BY id", (PROJECT,)
        ).fetchall()
    assert decided[:2] == [("new_data", True), ("new_data", False)]
    assert decided[2][1] is True

    again = bare_stack.platform("demo", "--year", "--months", "1-4", check=True, timeout=300)
    assert "arrives" not in again.stderr
    assert json.loads((state / "year.json").read_text())["rows"] == book["rows"]
    refused = bare_stack.platform("demo", "--year", "--months", "2-4")
    assert refused.returncode == 1
    assert "the year begins without a model" in refused.stderr
