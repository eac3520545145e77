"""The whole loop, as `make demo` runs it: through Airflow, to a served prediction and a look at the drift."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import mlflow
import psycopg
import pytest

from tools.scratch import REPO, Stack

pytestmark = pytest.mark.airflow

PROJECT = "flight_delay"
DAGS = ("ingest", "train", "release", "monitor")
PARSE_SECONDS = 2.0
WATCHED = {"mlflow", "serving", "seaweedfs", "node-exporter", "postgres-exporter", "airflow-exporter"}


@pytest.fixture(scope="module")
def airflow(stack: Stack) -> Iterator[httpx.Client]:
    account = stack.credentials("airflow-api-server")
    with httpx.Client(base_url=account["url"], timeout=60) as client:
        body = {"username": account["username"], "password": account["password"]}
        client.headers["Authorization"] = f"Bearer {client.post('/auth/token', json=body).json()['access_token']}"
        yield client


@pytest.fixture
def registry(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, stack.env[name])
    return mlflow.MlflowClient(stack.env["MLFLOW_TRACKING_URI"])


def test_the_demo_ends_with_services_metrics_and_a_prediction(demo: subprocess.CompletedProcess[str]) -> None:
    for word in ("postgres", "mlflow", "airflow-scheduler", "healthy", "roc_auc", "The monitor, on", "prediction_id"):
        assert word in demo.stdout, word
    assert "Traceback" not in demo.stdout + demo.stderr


def test_its_rest_call_can_be_repeated_from_a_shell(demo: subprocess.CompletedProcess[str], stack: Stack) -> None:
    call = re.search(r"^\S*(curl|python) .*?}'$", demo.stdout, re.DOTALL | re.MULTILINE)
    assert call is not None, demo.stdout
    done = subprocess.run(
        ["bash", "-c", call.group()],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "PLATFORM_HOME": str(stack.home)},
    )
    answer = json.loads(done.stdout)
    assert answer["model"] == PROJECT
    assert 0 <= answer["predictions"][0]["probability"] <= 1


def test_every_dag_succeeded_and_none_failed_to_import(
    demo: subprocess.CompletedProcess[str], airflow: httpx.Client
) -> None:
    assert airflow.get("/api/v2/importErrors").json()["import_errors"] == []
    for part in DAGS:
        runs = airflow.get(f"/api/v2/dags/{PROJECT}__{part}/dagRuns").json()["dag_runs"]
        # the clock may strike before there are any data
        demanded = [run for run in runs if run["run_type"] != "scheduled"]
        assert demanded, part
        assert {run["state"] for run in demanded} == {"success"}, runs


def test_training_was_started_by_the_data_and_by_what_the_monitor_found(
    demo: subprocess.CompletedProcess[str], airflow: httpx.Client
) -> None:
    runs = airflow.get(f"/api/v2/dags/{PROJECT}__train/dagRuns").json()["dag_runs"]
    assert {run["run_type"] for run in runs} == {"asset_triggered"}


def test_each_decision_on_a_training_has_its_reason(demo: subprocess.CompletedProcess[str], stack: Stack) -> None:
    """The first data trained the first model; July alone trained none, the drift that was found in it did."""
    with psycopg.connect(stack.env["WAREHOUSE_URL"]) as connection:
        rows = connection.execute(
            "SELECT trigger, train, reason, actor, evidence FROM triggers.decisions WHERE project = %s ORDER BY id",
            (PROJECT,),
        ).fetchall()
    first, july, retrained = rows[:3]
    assert first[:2] == ("new_data", True)
    assert "no champion yet" in first[2]
    assert july[:2] == ("new_data", False)
    assert "triggers.on_new_data" in july[2]
    assert retrained[0] in ("drift", "performance")
    assert retrained[1] is True
    assert retrained[4]["version"] == 1
    assert {actor.partition("/")[0] for *_, actor, _ in rows[:3]} == {f"airflow:{PROJECT}__train"}


def test_what_came_of_the_drift_was_released_by_canary(demo: subprocess.CompletedProcess[str], stack: Stack) -> None:
    with psycopg.connect(stack.env["WAREHOUSE_URL"]) as connection:
        rows = connection.execute(
            "SELECT version, strategy, state FROM releases.releases WHERE project = %s ORDER BY id", (PROJECT,)
        ).fetchall()
    assert rows == [(1, "direct", "promoted"), (2, "canary", "promoted")]


def test_a_person_may_ask_for_a_training_by_rest(
    demo: subprocess.CompletedProcess[str], stack: Stack, airflow: httpx.Client
) -> None:
    path = f"/api/v2/dags/{PROJECT}__train/dagRuns"
    run = airflow.post(path, json={"logical_date": None, "conf": {}}).raise_for_status().json()
    deadline = time.monotonic() + 240
    while run["state"] not in ("success", "failed"):
        assert time.monotonic() < deadline, run
        time.sleep(1)
        run = airflow.get(f"{path}/{run['dag_run_id']}").json()
    assert run["state"] == "success"
    with psycopg.connect(stack.env["WAREHOUSE_URL"]) as connection:
        decided = connection.execute(
            "SELECT trigger, train, reason FROM triggers.decisions WHERE actor = %s",
            (f"airflow:{PROJECT}__train/{run['dag_run_id']}",),
        ).fetchall()
    assert decided == [("demand", True, "asked for")]


def test_every_dbt_model_is_a_task_of_its_own(demo: subprocess.CompletedProcess[str], airflow: httpx.Client) -> None:
    tasks = airflow.get(f"/api/v2/dags/{PROJECT}__ingest/tasks").json()["tasks"]
    names = {task["task_id"] for task in tasks}
    assert {"inspect", "sync", "dbt.stg_flights.run", "dbt.stg_flights.test", "dbt.flight_delay_features.run"} <= names


def test_the_dags_say_what_they_are(demo: subprocess.CompletedProcess[str], airflow: httpx.Client) -> None:
    for part in DAGS:
        dag = airflow.get(f"/api/v2/dags/{PROJECT}__{part}/details").json()
        assert dag["doc_md"]
        assert {tag["name"] for tag in dag["tags"]} == {PROJECT, part}
        assert not dag["is_paused"]
        assert dag["last_parse_duration"] < PARSE_SECONDS


def test_the_champion_serves_and_its_run_has_its_data(
    demo: subprocess.CompletedProcess[str], stack: Stack, registry: mlflow.MlflowClient
) -> None:
    champion = registry.get_model_version_by_alias(PROJECT, "champion")
    account = stack.credentials("serving")
    served = httpx.get(account["url"] + "/models", headers={"Authorization": f"Bearer {account['token']}"}).json()
    (deployment,) = served["models"]
    assert deployment["name"] == PROJECT
    assert [(str(one["version"]), one["role"]) for one in deployment["versions"]] == [(champion.version, "champion")]
    run = registry.get_run(champion.run_id)
    assert run.data.metrics["test_roc_auc"] > 0.6
    assert run.inputs.dataset_inputs[0].dataset.source.find("s3://snapshots/") >= 0
    assert run.data.tags["platform.actor"].startswith(f"airflow:{PROJECT}__train/")


def test_every_prediction_is_in_the_store(demo: subprocess.CompletedProcess[str], stack: Stack) -> None:
    with psycopg.connect(stack.env["PREDICTIONS_URL"]) as connection:
        row = connection.execute("SELECT count(*), count(DISTINCT entity_key) FROM predictions").fetchone()
    assert row is not None
    assert row[0] >= 3000
    assert row[1] >= 3000


def test_a_prediction_is_traced_to_the_files_that_were_landed(
    demo: subprocess.CompletedProcess[str], stack: Stack
) -> None:
    with psycopg.connect(stack.env["PREDICTIONS_URL"]) as connection:
        row = connection.execute("SELECT prediction_id::text FROM predictions ORDER BY created_at DESC").fetchone()
    assert row is not None
    trace = json.loads(stack.platform("trace", row[0], "--json", check=True).stdout)
    assert trace["missing"] == [], trace["notes"]
    assert trace["run"]["pipeline_run"].startswith(f"airflow:{PROJECT}__train/")
    assert trace["dbt_run"]["pipeline_run"].startswith(f"airflow:{PROJECT}__ingest/")
    assert trace["dbt_run"]["inputs"] == ["staging.stg_flight_features"]
    assert trace["sync"][0]["pipeline_run"] == trace["dbt_run"]["pipeline_run"]
    assert f"s3://landing/{PROJECT}/flights/2013-01.csv" in [file["uri"] for file in trace["files"]]


def query(stack: Stack, expression: str) -> list[dict[str, Any]]:
    account = stack.credentials("prometheus")
    sign_in = (account["username"], account["password"])
    answer = httpx.get(account["url"] + "/api/v1/query", params={"query": expression}, auth=sign_in)
    return answer.raise_for_status().json()["data"]["result"]


def test_prometheus_sees_every_service_the_model_and_the_drift(
    demo: subprocess.CompletedProcess[str], stack: Stack
) -> None:
    deadline = time.monotonic() + 60
    while True:
        up = {series["metric"]["job"]: float(series["value"][1]) for series in query(stack, "sum by (job) (up)")}
        served = query(stack, f'serving_model_info{{model="{PROJECT}"}}')
        drift = query(stack, f'platform_monitoring_drift_share{{project="{PROJECT}"}}')
        if up.keys() >= WATCHED and all(up.values()) and served and drift:
            break
        assert time.monotonic() < deadline, (up, served, drift)
        time.sleep(1)
    assert float(drift[0]["value"][1]) > 0.2


def test_the_demo_again_finds_everything_done(
    demo: subprocess.CompletedProcess[str], stack: Stack, registry: mlflow.MlflowClient
) -> None:
    before = registry.get_model_version_by_alias(PROJECT, "champion").version
    again = stack.platform("demo", check=True, timeout=120)
    assert "has been through the loop" in again.stderr
    assert "arrives" not in again.stderr
    for words in ("The monitor, on 3000 predictions of July", "prediction_id"):
        assert words in demo.stdout and words in again.stdout
    assert registry.get_model_version_by_alias(PROJECT, "champion").version == before


def test_an_unknown_project_or_step_is_refused(stack: Stack) -> None:
    for words in (("run", "no_such_project", "train"), ("run", PROJECT, "no_such_step")):
        done = stack.platform(*words)
        assert done.returncode == 2 if words[-1] == "no_such_step" else done.returncode in (1, 2)
        assert "Traceback" not in done.stderr
        assert (REPO / "projects" / "no_such_project").exists() is False


def announced(airflow: httpx.Client) -> int:
    """How often an ingestion that somebody asked for has said that the mart is ready, which is what trains a model."""
    events = airflow.get("/api/v2/assets/events", params={"source_dag_id": f"{PROJECT}__ingest"}).raise_for_status()
    return sum(event["source_run_id"].startswith("manual") for event in events.json()["asset_events"])


def mart_digest(stack: Stack) -> str:
    with psycopg.connect(stack.env["WAREHOUSE_URL"]) as connection:
        query = "SELECT md5(string_agg(md5(row::text), '' ORDER BY flight_id)) FROM marts.flight_delay_features AS row"
        found = connection.execute(query).fetchone()
    assert found is not None
    return str(found[0])


@pytest.fixture
def broken_row(stack: Stack) -> Iterator[None]:
    """One flight of a negative distance in the raw table."""
    first = "ctid = (SELECT min(ctid) FROM raw.flights)"
    with psycopg.connect(stack.env["WAREHOUSE_URL"], autocommit=True) as connection:
        row = connection.execute(f"SELECT distance FROM raw.flights WHERE {first}").fetchone()  # noqa: S608
        assert row is not None
        connection.execute(f"UPDATE raw.flights SET distance = -5 WHERE {first}")  # noqa: S608
        yield
        connection.execute("UPDATE raw.flights SET distance = %s WHERE distance = -5", row)


def test_a_dbt_test_that_fails_stops_the_loop_before_training_and_shows_the_row(
    demo: subprocess.CompletedProcess[str], stack: Stack, airflow: httpx.Client, broken_row: None
) -> None:
    before = announced(airflow), mart_digest(stack)
    assert before[0] >= 2, "those of the demo"
    done = stack.platform("run", PROJECT, "loop")
    assert done.returncode == 1
    assert "in_range_stg_flights_distance" in done.stderr
    assert "distance=-5" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 60
    assert (announced(airflow), mart_digest(stack)) == before


@pytest.fixture
def cut_file(stack: Stack) -> Iterator[str]:
    """A month that was cut off in the middle of a row, in the landing bucket."""
    env = stack.env
    s3 = boto3.client(
        "s3",
        endpoint_url=env["S3_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
    )
    bucket, key = env["LANDING_BUCKET"], f"{PROJECT}/flights/2013-08.csv"
    whole = s3.get_object(Bucket=bucket, Key=f"{PROJECT}/flights/2013-07.csv")["Body"].read()
    s3.put_object(Bucket=bucket, Key=key, Body=whole[: len(whole) // 2 - 7])
    yield key
    s3.delete_object(Bucket=bucket, Key=key)


def test_a_file_that_was_cut_off_fails_the_run_with_the_reason(
    demo: subprocess.CompletedProcess[str], stack: Stack, airflow: httpx.Client, cut_file: str
) -> None:
    before = announced(airflow), mart_digest(stack)
    done = stack.platform("run", PROJECT, "loop")
    assert done.returncode == 1
    assert cut_file in done.stderr
    assert "failed in the task inspect" in done.stderr
    assert "Traceback" not in done.stderr
    assert (announced(airflow), mart_digest(stack)) == before
