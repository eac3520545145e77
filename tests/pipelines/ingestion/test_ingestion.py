"""Landing, the ledger's view of the bucket, the job for PyAirbyte and what comes back: without a service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.ingestion.airbyte_job import airbyte_job
from pipelines.ingestion.airbyte_process import run_airbyte
from pipelines.ingestion.connections import Connection, load_connection
from pipelines.ingestion.connections import variables as step_variables
from pipelines.ingestion.land import _project_land
from pipelines.ingestion.ledger import LandingFile, landing_files
from pipelines.project import Project, load_project

REPO = Path(__file__).resolve().parents[3]
WHEN = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def connection(env: Environment, variables: dict[str, str]) -> Connection:
    return load_connection(REPO, "nycflights", step_variables(env, variables))


class Bucket:
    """An S3 client that lists `keys`, two to a page."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def get_paginator(self, _operation: str) -> Bucket:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        found = [key for key in self.keys if key.startswith(Prefix)]
        for start in range(0, len(found), 2):
            page = found[start : start + 2]
            yield {"Contents": [{"Key": key, "ETag": f'"{len(key)}"', "LastModified": WHEN} for key in page]}
        yield {}


def test_only_what_a_stream_reads_is_a_landing_file(connection: Connection) -> None:
    flights = [f"flight_delay/flights/2013-0{month}.csv" for month in (1, 2, 3)]
    others = ["flight_delay/flights/readme.txt", "flight_delay/flights/old/2012-01.csv", "other/flights/2013-01.csv"]
    found = landing_files(Bucket(*flights, *others, "flight_delay/planes/planes.csv"), connection)
    assert [file.key for file in found] == [*flights, "flight_delay/planes/planes.csv"]
    assert found[0] == LandingFile("flights", flights[0], str(len(flights[0])), WHEN)


def test_a_job_reads_exactly_the_given_files(env: Environment, connection: Connection, tmp_path: Path) -> None:
    files = [LandingFile("weather", "flight_delay/weather/2013-01.csv", "e", WHEN)]
    job = airbyte_job(env, connection, files, tmp_path)
    assert job["streams"] == ["weather"]
    (stream,) = job["config"]["streams"]
    assert stream["globs"] == ["flight_delay/weather/2013-01.csv"]
    assert json.loads(stream["input_schema"])["temp"] == "number"
    assert json.loads(stream["input_schema"])["time_hour"] == "string"
    (catalog,) = job["catalog"]["streams"]
    assert catalog["source_defined_primary_key"] == [["origin"], ["time_hour"]]
    assert set(catalog["json_schema"]["properties"]) - set(connection.streams[1].columns) == {
        "_ab_source_file_last_modified",
        "_ab_source_file_url",
    }
    assert job["cache"]["password"] == "hidden-1"


def test_the_sample_lands_months_as_files_and_the_same_bytes_each_time() -> None:
    land = _project_land(load_project(REPO, "flight_delay"))
    files = dict(land([2, 7]))
    assert list(files)[:2] == ["flights/2013-02.csv", "flights/2013-07.csv"]
    assert set(list(files)[2:]) == {
        "weather/2013-02.csv",
        "weather/2013-07.csv",
        "planes/planes.csv",
        "airports/airports.csv",
        "airlines/airlines.csv",
    }
    lines = files["flights/2013-02.csv"].decode().splitlines()
    assert len(lines) == 1 + 24951
    assert all(line.startswith("2013,2,") for line in lines[1:])
    assert not any("NA" in line.split(",") for line in lines)
    assert files["airports/airports.csv"].count(b"\n") == 1 + 1458
    assert dict(land([2]))["flights/2013-02.csv"] == files["flights/2013-02.csv"]


def test_a_project_without_land_says_how_files_arrive(project: Project) -> None:
    with pytest.raises(StepError, match="put files into the landing bucket below shop/"):
        _project_land(project)


@pytest.fixture
def job(env: Environment, tmp_path: Path) -> dict[str, Any]:
    """A job whose two environments are stand-ins that `answer` fills."""
    connector = tmp_path / "connector"
    connector.touch()
    return {"name": "nycflights", "connector": {"python": str(connector)}}


def answer(env: Environment, script: str) -> None:
    """Have PyAirbyte's environment run `script` (sh) instead."""
    python = env.envs_dir / "airbyte" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nread job\n{script}\n")
    python.chmod(0o755)


def test_progress_is_passed_on_and_the_last_line_is_the_result(
    env: Environment, job: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(
        env,
        "echo 'PROGRESS flights: 20000 rows read' >&2; echo chatter >&2; echo more chatter\n"
        """echo '{"streams": {"flights": {"read": 5, "repeated": 0}}}'""",
    )
    assert run_airbyte(env, job, tmp_path) == {"flights": {"read": 5, "repeated": 0}}
    shown = capsys.readouterr().err
    assert "flights: 20000 rows read" in shown
    assert "chatter" not in shown


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("""echo '{"error": "The bucket x does not exist."}'""", "the sync failed: The bucket x does not exist."),
        ("echo 'out of memory' >&2; exit 9", "PyAirbyte ended with code 9: out of memory"),
        ("exit 3", "PyAirbyte ended with code 3: it said nothing"),
    ],
)
def test_what_fails_inside_is_one_message(
    env: Environment, job: dict[str, Any], tmp_path: Path, script: str, told: str
) -> None:
    answer(env, script)
    with pytest.raises(StepError) as failed:
        run_airbyte(env, job, tmp_path)
    assert told in str(failed.value)
    assert str(failed.value).startswith("airbyte/connections/nycflights.yaml")


def test_an_environment_that_is_missing_is_named(env: Environment, job: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"airbyte/bin/python: not installed"):
        run_airbyte(env, job, tmp_path)
