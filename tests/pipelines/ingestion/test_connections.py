from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.ingestion.connections import SourceStream, load_connection
from pipelines.ingestion.connections import variables as step_variables

REPO = Path(__file__).resolve().parents[3]
CONNECTION = "connections/nycflights.yaml"
SOURCE = "sources/landing.yaml"
DESTINATION = "destinations/warehouse.yaml"
Change = Callable[[str, str, str], None]


@pytest.fixture
def values(env: Environment, variables: dict[str, str]) -> dict[str, str]:
    return step_variables(env, variables)


@pytest.fixture
def declared(tmp_path: Path) -> Path:
    shutil.copytree(REPO / "airbyte", tmp_path / "airbyte")
    return tmp_path


@pytest.fixture
def change(declared: Path) -> Change:
    """Replace a piece of one of the declarations."""

    def replace(file: str, old: str, new: str) -> None:
        path = declared / "airbyte" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return replace


def test_the_sample_is_declared_correctly(values: dict[str, str]) -> None:
    connection = load_connection(REPO, "nycflights", values)
    assert [stream.name for stream in connection.streams] == ["flights", "weather", "planes", "airports", "airlines"]
    assert connection.schema == "raw"
    assert connection.destination.configuration.port == 9
    flights = connection.streams[0]
    assert flights.columns["time_hour"] == "timestamp"
    assert connection.source_stream(flights).reads("flight_delay/flights/2013-01.csv")


def test_secrets_are_filled_in_and_do_not_show(values: dict[str, str]) -> None:
    connection = load_connection(REPO, "nycflights", values)
    assert connection.source.configuration.aws_secret_access_key.get_secret_value() == "hidden-5"
    assert connection.destination.configuration.password.get_secret_value() == "hidden-1"
    assert "hidden" not in repr(connection)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ((CONNECTION, "primary_key: [origin", "primary_keys: [origin"), "streams.1.primary_keys: unknown key (did you"),
        ((CONNECTION, "month: integer", "month: int"), "streams.0.columns.month: Input should be 'string', 'integer'"),
        ((CONNECTION, "rows_a_day: 600", "rows_a_day: many"), "streams.0.expectations.whole_month.rows_a_day: "),
        (
            (CONNECTION, "primary_key: [faa]", "primary_key: [iata]"),
            "streams.3: iata: not among the columns (faa, name",
        ),
        (
            (CONNECTION, "sync_mode: incremental", "sync_mode: full"),
            "streams.0.sync_mode: Input should be 'incremental'",
        ),
        (
            (CONNECTION, "- name: planes", "- name: plains"),
            "the source 'landing' has no plains; allowed: flights, weath",
        ),
        ((CONNECTION, "source: landing", "source: harbour"), "no such file: the declaration 'harbour'"),
        ((CONNECTION, "source: landing", "source: landing\nsource: landing"), "the key 'source' stands here twice"),
        (
            (CONNECTION, "resource_name: nycflights", "resource_name: nyc"),
            "resource_name: it is 'nyc'; allowed: 'nycfl",
        ),
        (
            (SOURCE, "  bucket:", "  buckets:"),
            "configuration.buckets: unknown key (did you mean bucket?); allowed: buck",
        ),
        ((SOURCE, "airbyte/source-s3", "airbyte/source-gcs"), "definition_image: Input should be 'airbyte/source-s3'"),
        (
            (SOURCE, '["flight_delay/flights/*.csv"]', "flights.csv"),
            "configuration.streams.0.globs: Input should be a v",
        ),
        ((SOURCE, "flight_delay/flights/*.csv", "**/*.csv"), "`**` is not supported in globs"),
        ((SOURCE, "${LANDING_BUCKET}", "${NO_BUCKET}"), "configuration.bucket: the variable NO_BUCKET is not set"),
        ((DESTINATION, "schema: raw", "schemas: raw"), "did you mean schema?); allowed: host, port, database"),
        ((DESTINATION, "${WAREHOUSE_PORT}", "many"), "configuration.port: Input should be a valid integer"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(
    change: Change, declared: Path, values: dict[str, str], edit: tuple[str, str, str], told: str
) -> None:
    change(*edit)
    with pytest.raises(StepError) as refused:
        load_connection(declared, "nycflights", values)
    message = str(refused.value)
    assert told in message
    assert message.startswith(("airbyte/", str(declared)))
    assert "hidden" not in message


def test_an_unknown_connection_names_the_known_ones(values: dict[str, str]) -> None:
    with pytest.raises(StepError, match="declared in airbyte/connections: nycflights"):
        load_connection(REPO, "nyc", values)


def test_a_star_does_not_reach_across_directories() -> None:
    stream = SourceStream.model_validate({"name": "a", "globs": ["p/a/*.csv"], "format": {"filetype": "csv"}})
    assert stream.reads("p/a/2013-01.csv")
    assert not stream.reads("p/a/old/2013-01.csv")
    assert not stream.reads("p/a/2013-01.csv.tmp")


def test_the_parts_of_the_warehouse_follow_from_its_address(env: Environment) -> None:
    values = step_variables(env, {"WAREHOUSE_HOST": "elsewhere"})
    assert values["WAREHOUSE_HOST"] == "127.0.0.1"
    assert values["WAREHOUSE_USER"] == "pipelines"
    assert values["WAREHOUSE_DATABASE"] == "warehouse"
