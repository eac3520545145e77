"""`platform demo --year` on a stack of its own: the loop keeps up with the months by itself, a poisoned one stops.

Months that are cut off or in other units are in test_ingestion.py, on the same files."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import mlflow
import psycopg
import pytest

from tools.scratch import Stack, new_stack

PROJECT = "flight_delay"
APRIL = f"{PROJECT}/flights/2013-04.csv"
MART = "SELECT count(*), sum(distance), sum(is_late::int) FROM marts.flight_delay_features"


class Spring:
    """A stack on which January to April have been told, and what a test does with it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.told = stack.platform("demo", "--year", "--months", "1-4", check=True, timeout=1500)

    @property
    def book(self) -> dict[str, Any]:
        return dict(json.loads((self.stack.home / "state/year.json").read_text()))

    @cached_property
    def s3(self) -> Any:
        env = self.stack.env
        return boto3.client(
            "s3",
            endpoint_url=env["S3_ENDPOINT_URL"],
            aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )

    def april(self) -> bytes:
        content: bytes = self.s3.get_object(Bucket=self.stack.env["LANDING_BUCKET"], Key=APRIL)["Body"].read()
        return content

    def land(self, april: bytes) -> None:
        self.s3.put_object(Bucket=self.stack.env["LANDING_BUCKET"], Key=APRIL, Body=april)

    def step(self, name: str, *options: str) -> dict[str, Any]:
        return self.stack.run_step(name, PROJECT, *options)

    def mart(self) -> Any:
        with psycopg.connect(self.stack.env["WAREHOUSE_URL"]) as connection:
            return connection.execute(MART).fetchone()

    def champion(self, monkeypatch: pytest.MonkeyPatch) -> int:
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            monkeypatch.setenv(name, self.stack.env[name])
        client = mlflow.MlflowClient(self.stack.env["MLFLOW_TRACKING_URI"])
        return int(client.get_model_version_by_alias(PROJECT, "champion").version)


@pytest.fixture(scope="module")
def spring() -> Iterator[Spring]:
    stack = new_stack(Path(os.environ["PLATFORM_TEST_ENVS"]))
    try:
        yield Spring(stack)
    finally:
        stack.platform("down", "--purge", "--yes")


def test_a_spring_retrains_releases_by_canary_and_is_better_than_the_first_model(spring: Spring) -> None:
    assert "Traceback" not in spring.told.stdout + spring.told.stderr
    assert (spring.stack.home / "state/year.png").read_bytes().startswith(b"\x89PNG")
    book = spring.book
    march, april = book["rows"]
    assert (march["month"], april["month"]) == (3, 4)
    # In March nobody but the first model answered, so both figures are of the same answers.
    assert march["versions"] == {"1": march["rows"]}
    assert abs(march["platform"] - march["frozen"]) < 1e-4
    assert march["trigger"] in ("drift", "performance")
    assert march["candidate"] == 2
    assert march["released"] == "version 2 promoted"
    # April was answered by what March had made, and better so.
    assert april["versions"] == {"2": april["rows"]}
    assert april["platform"] > april["frozen"]
    assert book["summary"]["released"] >= 1

    with psycopg.connect(spring.stack.env["PREDICTIONS_URL"]) as connection:
        answered = dict(
            connection.execute("SELECT role, count(*) FROM predictions WHERE version = 2 GROUP BY role").fetchall()
        )
    # The canary's step of 10 % saw 200 predictions, that of 50 % another 500.
    assert answered["canary"] >= 700
    assert answered["champion"] >= april["rows"]
    with psycopg.connect(spring.stack.env["WAREHOUSE_URL"]) as connection:
        decided = connection.execute(
            "SELECT trigger, train FROM triggers.decisions WHERE project = %s ORDER BY id", (PROJECT,)
        ).fetchall()
    assert decided[:2] == [("new_data", True), ("new_data", False)]
    assert decided[2][1] is True


def test_a_year_that_was_told_is_not_told_again(spring: Spring) -> None:
    rows = spring.book["rows"]
    again = spring.stack.platform("demo", "--year", "--months", "1-4", check=True, timeout=300)
    assert "arrives" not in again.stderr
    assert spring.book["rows"] == rows
    refused = spring.stack.platform("demo", "--year", "--months", "2-4")
    assert refused.returncode == 1
    assert "the year begins without a model" in refused.stderr


def changed(content: bytes, column: str, change: Callable[[float], float]) -> bytes:
    """The file with other values in a column of whole numbers; what is missing stays so."""
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    for row in rows:
        row[column] = str(round(change(float(row[column])))) if row[column] else ""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


@pytest.fixture
def april(spring: Spring) -> Iterator[bytes]:
    """April's flights as they are; afterwards they are so again, down to the mart."""
    good, mart = spring.april(), spring.mart()
    yield good
    spring.land(good)
    spring.step("ingest")
    spring.step("transform")
    assert spring.mart() == mart


def test_a_month_with_flipped_labels_is_seen_by_the_monitor_and_stops_at_the_gate(
    spring: Spring, april: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion = spring.champion(monkeypatch)
    spring.land(changed(april, "arr_delay", lambda minutes: 0 if minutes > 15 else 40))
    spring.step("ingest")
    spring.step("transform")
    spring.step("replay", "--month", "4", "--rows", "6000")
    assert spring.step("monitor")["lost_performance"] is True
    run_id = spring.step("train")["run_id"]
    assert spring.step("evaluate", "--run-id", run_id)["passed"] is False
    registered = spring.step("register", "--run-id", run_id)
    assert "roc_auc" in registered["gate"]
    assert registered["alias"] is None
    assert spring.champion(monkeypatch) == champion
