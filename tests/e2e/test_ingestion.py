"""Landing, inspection, sync and dbt on a real stack: what is read when, and what a bad file or row changes: nothing."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.airline import Airline, open_airline
from tools.scratch import REPO, Stack

JANUARY, FEBRUARY, MARCH = 27004, 24951, 28834
FLIGHTS = "flights/2013-02.csv"
UNIQUE = "SELECT count(*), count(DISTINCT (year, month, day, carrier, flight, origin)) FROM {name}_raw.flights"


@pytest.fixture(scope="module")
def loaded(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airline]:
    with open_airline(tmp_path_factory.mktemp("airline"), stack.env) as opened:
        yield opened


@pytest.fixture
def airline(loaded: Airline) -> Iterator[Airline]:
    """The shared airline; afterwards it has January again, and nothing else."""
    yield loaded
    for month in ("02", "03"):
        for stream in ("flights", "weather"):
            loaded.s3.delete_object(Bucket=loaded.bucket, Key=f"{loaded.name}/{stream}/2013-{month}.csv")
    loaded.sql("DELETE FROM {name}_raw.flights WHERE month > 1")
    loaded.sql("DELETE FROM {name}_raw.weather WHERE month > 1")
    loaded.sql("DELETE FROM {name}_raw._landing_files WHERE key ~ '2013-0[23]'")


def test_a_sync_without_a_new_file_reads_nothing(airline: Airline) -> None:
    before = airline.tables("raw")
    result = airline.step("ingest")
    assert result["accepted"] == []
    assert all(stream["read"] == 0 for stream in result["streams"].values())
    assert result["streams"]["flights"]["total"] == JANUARY
    # The connector's own state says the same as the ledger.
    asked = airline.step("sync", "--check-source")
    assert {name: counts["read"] for name, counts in asked["streams"].items()} == dict.fromkeys(asked["streams"], 0)
    assert {name: value for name, value in airline.tables("raw").items() if "_airbyte" not in name} == {
        name: value for name, value in before.items() if "_airbyte" not in name
    }


def test_a_new_month_is_read_alone(airline: Airline) -> None:
    result = airline.load("2")
    assert sorted(result["accepted"]) == [f"{airline.name}/flights/2013-02.csv", f"{airline.name}/weather/2013-02.csv"]
    assert result["streams"]["flights"] == {"read": FEBRUARY, "total": JANUARY + FEBRUARY}
    assert result["streams"]["planes"]["read"] == 0
    assert airline.sql(UNIQUE) == [(JANUARY + FEBRUARY, JANUARY + FEBRUARY)]
    assert airline.sql("SELECT DISTINCT month FROM {name}_raw.flights ORDER BY 1") == [(1,), (2,)]


def test_a_sync_and_a_dbt_run_are_recorded_with_what_they_read_and_wrote(loaded: Airline) -> None:
    query = "SELECT files, streams FROM lineage.syncs WHERE project = '{name}' ORDER BY id LIMIT 1"
    [(files, streams)] = loaded.sql(query)
    assert {file["uri"] for file in files} >= {f"s3://{loaded.bucket}/{loaded.name}/flights/2013-01.csv"}
    assert all(file["etag"] for file in files)
    assert streams[f"{loaded.name}_raw.flights"] == JANUARY == max(file["rows"] for file in files)
    query = "SELECT models, tests, state FROM lineage.dbt_runs WHERE project = '{name}' ORDER BY started_at LIMIT 1"
    [(models, tests, state)] = loaded.sql(query)
    inputs = {model["table"]: model["inputs"] for model in models}
    assert inputs[f"{loaded.name}_marts.flight_delay_features"] == [f"{loaded.name}_staging.stg_flight_features"]
    assert inputs[f"{loaded.name}_staging.stg_weather"] == [f"{loaded.name}_raw.weather"]
    assert (state, set(tests)) == ("done", {"pass"})


def test_the_same_file_again_makes_no_duplicate(airline: Airline) -> None:
    airline.step("land", "--months", "1", "--force")
    assert airline.step("ingest")["streams"]["flights"]["read"] == 0
    read = airline.step("sync", "--check-source")["streams"]["flights"]
    assert read == {"read": JANUARY, "total": JANUARY}
    assert airline.sql(UNIQUE) == [(JANUARY, JANUARY)]


def test_a_corrected_file_replaces_its_rows(airline: Airline) -> None:
    content = airline.file("airlines/airlines.csv")
    try:
        airline.put("airlines/airlines.csv", content.replace(b"United Air Lines Inc.", b"United"))
        assert airline.step("ingest")["streams"]["airlines"] == {"read": 16, "total": 16}
        assert airline.sql("SELECT name FROM {name}_raw.airlines WHERE carrier = 'UA'") == [("United",)]
    finally:
        airline.put("airlines/airlines.csv", content)
        airline.step("ingest")


def test_a_row_in_two_new_files_is_taken_from_the_newer(airline: Airline) -> None:
    planes = airline.file("planes/planes.csv")
    newer = "planes/register.csv"
    try:
        airline.put("planes/planes.csv", planes.replace(b"EMBRAER", b"Embraer"))
        airline.put(newer, planes)
        while airline.modified(newer) <= airline.modified("planes/planes.csv"):
            airline.put(newer, planes)
        assert airline.step("ingest")["streams"]["planes"] == {"read": 2 * 3322, "total": 3322}
        assert airline.sql("SELECT count(*) FROM {name}_raw.planes WHERE manufacturer = 'Embraer'") == [(0,)]
    finally:
        airline.s3.delete_object(Bucket=airline.bucket, Key=f"{airline.name}/{newer}")
        airline.put("planes/planes.csv", planes)
        airline.step("ingest")


def _lines(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


# One for each part of the declaration that judges a file; all that can be wrong with one is in test_csv_check.py.
BAD_FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut between rows": (lambda good: b"".join(_lines(good)[:20_000]), "6 days with fewer than 600 rows: cut off?"),
    "column renamed": (lambda good: good.replace(b"arr_delay", b"delay", 1), "missing: arr_delay; not declared: delay"),
    "flight repeated": (lambda good: good + _lines(good)[5], "line 24953: repeats line 6 (year 2013, month 2, day 1"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_changes_nothing_and_is_told(airline: Airline, kind: str) -> None:
    spoil, told = BAD_FILES[kind]
    airline.step("land", "--months", "2")
    airline.put(FLIGHTS, spoil(airline.file(FLIGHTS)))
    before = airline.tables("raw", "staging", "marts")
    message = airline.refused("ingest")
    assert f"s3://{airline.bucket}/{airline.name}/{FLIGHTS}: " in message
    assert told in message
    assert "→ have the sender put a whole, correct file in its place" in message
    assert airline.tables("raw", "staging", "marts") == before
    # Nor does a sync by itself let it in.
    assert "not inspected" in airline.refused("sync")
    assert airline.tables("raw", "staging", "marts") == before


def test_a_good_file_in_its_place_mends_it(airline: Airline) -> None:
    airline.step("land", "--months", "2")
    airline.put(FLIGHTS, airline.file(FLIGHTS)[:-6])
    airline.refused("ingest")
    assert airline.load("2")["streams"]["flights"]["total"] == JANUARY + FEBRUARY


def test_a_wrong_password_is_told_without_it(airline: Airline) -> None:
    url = airline.variables["WAREHOUSE_URL"]
    password = url.split(":")[2].split("@")[0]
    message = airline.refused("sync", WAREHOUSE_URL=url.replace(password, "not-the-password"))
    assert "password authentication failed" in message
    assert "not-the-password" not in message
    message = airline.refused("inspect", AWS_SECRET_ACCESS_KEY="not-the-key")
    assert "SignatureDoesNotMatch" in message
    assert "not-the-key" not in message


def test_a_mistake_in_a_declaration_is_told_before_anything_starts(airline: Airline) -> None:
    file = "airbyte/connections/nycflights.yaml"
    airline.declare("primary_key: [faa]", "primary_keys: [faa]", file)
    try:
        message = airline.refused("ingest")
    finally:
        airline.declare("primary_keys: [faa]", "primary_key: [faa]", file)
    assert message.startswith(f"{file}: ")
    assert "streams.3.primary_keys: unknown key (did you mean primary_key?); allowed: name, sync_mode" in message


def test_a_sync_that_is_killed_can_be_started_again(airline: Airline) -> None:
    airline.step("land", "--months", "3")
    airline.step("inspect")
    command = [f"{airline.variables['ENVS_DIR']}/pipelines/bin/python", "-m", "pipelines", "sync", airline.name]
    with subprocess.Popen(command, env=airline.variables, cwd=REPO, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            if "20000 rows read" in line:
                process.send_signal(signal.SIGKILL)
    assert airline.sql("SELECT count(*) FROM {name}_raw.flights") == [(JANUARY,)]
    result = airline.step("sync")
    assert result["streams"]["flights"] == {"read": MARCH, "total": JANUARY + MARCH}
    assert airline.sql(UNIQUE) == [(JANUARY + MARCH, JANUARY + MARCH)]
    leftovers = airline.sql("SELECT tablename FROM pg_tables WHERE schemaname = '{name}_raw' AND tablename ~ 's_.{9}$'")
    assert [name for (name,) in leftovers if not name.startswith("_")] == []


@pytest.fixture
def kept_rows(airline: Airline) -> Iterator[None]:
    """What a test does to the rows of these raw tables is undone."""
    tables = ("flights", "weather", "airlines")
    for table in tables:
        airline.sql(f"CREATE TABLE {{name}}_raw.kept_{table} AS TABLE {{name}}_raw.{table}")
    yield
    for table in tables:
        airline.sql(f"TRUNCATE {{name}}_raw.{table}")
        airline.sql(f"INSERT INTO {{name}}_raw.{table} TABLE {{name}}_raw.kept_{table}")
        airline.sql(f"DROP TABLE {{name}}_raw.kept_{table}")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            # a month in kilometres, and an airline that nobody knows
            "UPDATE {name}_raw.flights SET distance = round(distance * 1.609) WHERE month = 1;"
            "DELETE FROM {name}_raw.airlines WHERE carrier = 'UA'",
            {
                "in_range_stg_flights_distance": "destination=HNL",
                "relationships_stg_flights_carrier": "from_field=UA",
            },
        ),
        (
            "UPDATE {name}_raw.weather SET temp = null WHERE month = 1",
            {"mostly_known_stg_flight_features_temperature": "column_name=temperature, known=0"},
        ),
    ],
)
def test_failing_tests_keep_the_mart_and_name_the_rows(
    airline: Airline, kept_rows: None, spoil: str, told: dict[str, str]
) -> None:
    mart = airline.tables("marts")
    airline.sql(spoil)
    message = airline.refused("transform")
    assert "the mart was not replaced" in message
    for test, row in told.items():
        assert test in message
        assert row in message
    assert airline.tables("marts") == mart
    failing = airline.step("failures")["failing"]
    for test in told:
        assert any(item["name"].startswith(test) and item["rows"] for item in failing)
    assert airline.step("failures", "--since", "2999-01-01T00:00:00+00:00")["failing"] == []


def test_rows_that_are_right_again_make_the_same_mart(airline: Airline) -> None:
    mart = airline.tables("marts")
    assert airline.step("transform")["tests"] > 90
    assert airline.step("failures")["failing"] == []
    assert airline.tables("marts") == mart


def test_a_month_that_lost_most_of_its_rows_does_not_reach_the_mart(airline: Airline) -> None:
    airline.load("2")
    airline.step("transform")
    mart = airline.tables("marts")
    airline.sql("DELETE FROM {name}_raw.flights WHERE month = 2 AND day > 10")
    try:
        message = airline.refused("transform")
    finally:
        airline.sql("DELETE FROM {name}_raw.flights WHERE month = 2")
    assert "test whole_months_stg_flights_scheduled_departure" in message
    assert "month=2013-02-01" in message
    assert airline.tables("marts") == mart


def test_weather_of_the_hour_of_departure_is_refused_as_a_leak(airline: Airline) -> None:
    file = f"dbt_project/models/{airline.name}/staging/stg_flight_features.sql"
    right = "flights.departure_hour_utc - interval '1 hour' = weather.observed_at"
    wrong = "flights.departure_hour_utc = weather.observed_at"
    mart = airline.tables("marts")
    airline.declare(right, wrong, file)
    try:
        message = airline.refused("transform")
    finally:
        airline.declare(wrong, right, file)
    assert "test no_leakage" in message
    assert "leak=weather of the hour of departure or later" in message
    assert airline.tables("marts") == mart


def test_the_mart_has_a_row_for_each_flight_that_was_not_cancelled(airline: Airline) -> None:
    airline.step("transform")
    mart, flown, late = airline.sql(
        "SELECT (SELECT count(*) FROM {name}_marts.flight_delay_features),"
        " (SELECT count(*) FROM {name}_raw.flights WHERE dep_time IS NOT NULL),"
        " (SELECT count(*) FROM {name}_raw.flights WHERE arr_delay > 15)"
    )[0]
    assert mart == flown
    assert airline.sql("SELECT count(*) FROM {name}_marts.flight_delay_features WHERE is_late") == [(late,)]
    # 2013-01-01, flight UA 1545 from EWR at 05:15: the weather of 04:00, which is 09:00 UTC.
    row = airline.sql(
        "SELECT temperature, w.temp, weather_observed_at = w.time_hour::timestamptz, is_late"
        " FROM {name}_marts.flight_delay_features f JOIN {name}_raw.weather w"
        " ON w.origin = 'EWR' AND w.time_hour = '2013-01-01T09:00:00Z'"
        " WHERE f.flight_id = '2013-01-01-UA-1545-EWR-0515'"
    )[0]
    assert float(row[0]) == float(row[1])
    assert row[2:] == (True, False)
