"""OpenLineage events: their shape is what spec 2-0-2 asks for, and they go where the setting says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from pipelines.environment import Environment
from pipelines.lineage import openlineage
from pipelines.project import Project

# What https://openlineage.io/spec/2-0-2/OpenLineage.json requires of a RunEvent, and of every facet in it.
FACETS = {
    "type": "object",
    "additionalProperties": {
        "type": "object",
        "required": ["_producer", "_schemaURL"],
        "properties": {
            "_producer": {"type": "string", "format": "uri"},
            "_schemaURL": {"type": "string", "format": "uri", "pattern": "^https://openlineage.io/spec/facets/.*#/"},
        },
    },
}
DATASETS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["namespace", "name"],
        "properties": {
            "namespace": {"type": "string"},
            "name": {"type": "string"},
            "facets": FACETS,
            "inputFacets": FACETS,
            "outputFacets": FACETS,
        },
        "additionalProperties": False,
    },
}
RUN_EVENT = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job", "eventType"],
    "additionalProperties": False,
    "properties": {
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$"},
        "producer": {"type": "string", "format": "uri"},
        "schemaURL": {"const": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"},
        "run": {
            "type": "object",
            "required": ["runId"],
            "additionalProperties": False,
            "properties": {"runId": {"type": "string", "format": "uuid"}, "facets": FACETS},
        },
        "job": {
            "type": "object",
            "required": ["namespace", "name"],
            "additionalProperties": False,
            "properties": {"namespace": {"type": "string"}, "name": {"type": "string"}, "facets": FACETS},
        },
        "inputs": DATASETS,
        "outputs": DATASETS,
    },
}
RESULTS: dict[str, dict[str, Any]] = {
    "land": {"files": ["shop/1.csv"]},
    "sync": {"tables": {"raw.orders": 12}, "files": ["s3://landing/shop/1.csv"]},
    "snapshot": {"uri": "s3://snapshots/shop/x.parquet", "rows": 12, "digest": "x"},
    "train": {"run_id": "r1", "snapshot": "s3://snapshots/shop/x.parquet"},
    "evaluate": {"run_id": "r1"},
    "register": {"run_id": "r1", "version": 2},
    "monitor": {"version": 2},
}
DBT_RUN = {
    "invocation_id": "i-1",
    "project": "shop",
    "pipeline_run": "airflow:shop__ingest/r0",
    "dbt_version": "1.11.16",
    "started_at": datetime(2024, 5, 1, tzinfo=UTC),
    "ended_at": datetime(2024, 5, 1, 0, 1, tzinfo=UTC),
    "models": [
        {"table": "staging.stg_orders", "status": "success", "inputs": ["raw.orders"]},
        {"table": "marts.orders", "status": "error", "inputs": ["staging.stg_orders"]},
        {"table": "marts.more", "status": "skipped", "inputs": ["marts.orders"]},
    ],
}


def event(env: Environment, project: Project, step: str, kind: str = "COMPLETE", **facts: Any) -> dict[str, Any]:
    made = openlineage.step_event(env, project, step, 7, kind, parameters={"reuse": True, "month": None}, **facts)
    assert made is not None
    Draft202012Validator(RUN_EVENT, format_checker=FormatChecker()).validate(made)
    return made


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(item["namespace"], item["name"]) for item in datasets]


@pytest.mark.parametrize("step", RESULTS)
def test_a_steps_events_have_the_shape_of_the_spec(env: Environment, project: Project, step: str) -> None:
    began = event(env, project, step, "START")
    ended = event(env, project, step, result=RESULTS[step])
    failed = event(env, project, step, "FAIL", error="it rains")
    assert began["run"]["runId"] == ended["run"]["runId"] == failed["run"]["runId"]
    assert began["job"] == ended["job"]
    assert failed["run"]["facets"]["errorMessage"]["message"] == "it rains"
    parameters = ended["run"]["facets"]["parameters"]["parameters"]
    assert parameters == [{"key": "reuse", "value": "True"}]


def test_what_one_step_writes_is_what_the_next_one_reads(env: Environment, project: Project) -> None:
    land, sync, snapshot, train, evaluate, register, _ = (
        event(env, project, step, result=RESULTS[step]) for step in RESULTS
    )
    stage, mart = openlineage.dbt_events(env, DBT_RUN)[1::2]
    assert names(land["outputs"]) == names(sync["inputs"]) == [("s3://landing", "shop/1.csv")]
    assert names(sync["outputs"]) == names(stage["inputs"]) == [("postgres://127.0.0.1:9", "warehouse.raw.orders")]
    assert names(stage["outputs"]) == names(mart["inputs"])
    assert names(mart["outputs"]) == names(snapshot["inputs"])
    assert names(snapshot["outputs"]) == names(train["inputs"]) == [("s3://snapshots", "shop/x.parquet")]
    assert names(train["outputs"]) == names(evaluate["inputs"]) == names(register["inputs"])
    assert names(register["outputs"]) == [(env.mlflow_uri, "models/shop/2")]
    assert snapshot["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 12
    columns = [field["name"] for field in snapshot["inputs"][0]["facets"]["schema"]["fields"]]
    assert columns == ["order_id", "ordered_at", "is_returned", "country", "price", "items"]


def test_what_is_scored_is_a_table_or_a_file(env: Environment, project: Project) -> None:
    result = {"source": "marts.orders", "target": "answers.parquet", "version": 2, "rows": 5}
    scored = event(env, project, "score", result=result)
    assert names(scored["inputs"]) == [
        ("postgres://127.0.0.1:9", "warehouse.marts.orders"),
        (env.mlflow_uri, "models/shop/2"),
    ]
    assert names(scored["outputs"]) == [("file", str(Path.cwd() / "answers.parquet"))]


def test_a_step_that_moves_no_data_has_no_event(env: Environment, project: Project) -> None:
    assert openlineage.step_event(env, project, "decide", 1, "START", parameters={}) is None


def test_each_model_that_dbt_tried_starts_and_ends(env: Environment) -> None:
    events = openlineage.dbt_events(env, DBT_RUN)
    for made in events:
        Draft202012Validator(RUN_EVENT, format_checker=FormatChecker()).validate(made)
    assert [(made["job"]["name"], made["eventType"]) for made in events] == [
        ("shop.dbt.staging.stg_orders", "START"),
        ("shop.dbt.staging.stg_orders", "COMPLETE"),
        ("shop.dbt.marts.orders", "START"),
        ("shop.dbt.marts.orders", "FAIL"),
    ]
    assert events[0]["run"]["facets"]["parent"]["job"]["name"] == "shop__ingest"


def test_the_steps_of_a_pipeline_run_have_one_parent(env: Environment, project: Project) -> None:
    in_airflow = replace(env, declared_actor="airflow:shop__train/r1")
    parents = {
        json.dumps(event(in_airflow, project, step)["run"]["facets"]["parent"]) for step in ("snapshot", "train")
    }
    (parent,) = parents
    assert json.loads(parent)["job"]["name"] == "shop__train"
    other = replace(env, declared_actor="airflow:shop__train/r2")
    assert event(other, project, "train")["run"]["runId"] != event(in_airflow, project, "train")["run"]["runId"]


def test_the_commit_is_told(env: Environment, project: Project) -> None:
    assert "sourceCodeLocation" not in event(env, project, "train")["job"]["facets"]
    facet = event(replace(env, declared_commit="c" * 40), project, "train")["job"]["facets"]["sourceCodeLocation"]
    assert (facet["type"], facet["version"]) == ("git", "c" * 40)


def test_events_are_lines_of_a_file_which_does_not_grow_for_ever(
    env: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openlineage, "MAX_BYTES", 30)
    for number in range(5):
        openlineage.send(env, [{"number": number}])
    file = env.state_dir / "openlineage.ndjson"
    assert [json.loads(line)["number"] for line in file.read_text().splitlines()] == [3, 4]
    assert [json.loads(line)["number"] for line in (env.state_dir / "openlineage.ndjson.1").open()] == [0, 1, 2]
    named = replace(env, openlineage_to=str(tmp_path / "own.ndjson"))
    openlineage.send(named, [{"number": 9}])
    assert (tmp_path / "own.ndjson").read_text() == '{"number": 9}\n'


@contextmanager
def endpoint(status: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api/v1/lineage", received
        server.shutdown()


def test_events_are_posted_to_an_endpoint(env: Environment) -> None:
    with endpoint(201) as (address, received):
        openlineage.send(replace(env, openlineage_to=address), [{"number": 1}, {"number": 2}])
    assert received == [{"number": 1}, {"number": 2}]
    assert not (env.state_dir / "openlineage.ndjson").exists()


def test_an_endpoint_that_refuses_or_is_not_there_is_an_error(env: Environment) -> None:
    with endpoint(500) as (address, _), pytest.raises(OSError, match="500"):
        openlineage.send(replace(env, openlineage_to=address), [{"number": 1}])
    with pytest.raises(OSError, match=r"http://127\.0\.0\.1:9/"):
        openlineage.send(replace(env, openlineage_to="http://127.0.0.1:9/"), [{"number": 1}])
