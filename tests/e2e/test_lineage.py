"""What is recorded of a training, and what a prediction goes back to, on a real stack."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.e2e.shop import Shop, open_shop
from tests.e2e.steps import run_step
from tools.scratch import REPO, Stack

WAIT_SECONDS = 60
LOST = "it ended without a word"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lineage") / "events.ndjson"


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory, events: Path) -> Iterator[Shop]:
    """A shop whose first champion came from one pipeline run of three steps."""
    with open_shop(tmp_path_factory.mktemp("shop"), stack.env | {"OPENLINEAGE_TO": str(events)}) as opened:
        opened.variables["PLATFORM_PIPELINE_RUN"] = f"ci/{opened.name}"
        snapshot = opened.step("snapshot")["uri"]
        run_id = opened.step("train", "--snapshot", snapshot)["run_id"]
        opened.step("evaluate", "--run-id", run_id)
        opened.step("register", "--run-id", run_id)
        yield opened


def ask(shop: Shop, *words: str) -> Any:
    """What a command that asks the record answers, as JSON."""
    done = call(shop, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def call(shop: Shop, *words: str) -> subprocess.CompletedProcess[str]:
    return run_step(shop.variables, *words)


def predict(shop: Shop) -> str:
    """The id of a prediction that is in the store."""
    shop.await_served(1)
    url = f"{shop.variables['SERVING_URL']}/models/{shop.name}/predict"
    headers = {"Authorization": f"Bearer {shop.variables['SERVING_API_KEY']}"}
    record = {"order_id": "3-7", "country": "de", "price": 120.0, "items": 1}
    answer = httpx.post(url, json={"records": [record]}, headers=headers).raise_for_status().json()
    prediction_id = str(answer["predictions"][0]["prediction_id"])
    deadline = time.monotonic() + WAIT_SECONDS
    with psycopg.connect(shop.variables["PREDICTIONS_URL"], autocommit=True) as connection:
        while not connection.execute("SELECT 1 FROM predictions WHERE prediction_id = %s", (prediction_id,)).fetchone():
            assert time.monotonic() < deadline, "the prediction did not come into the store"
    return prediction_id


def test_a_pipeline_run_has_its_steps_with_times_parameters_and_artifacts(shop: Shop) -> None:
    found = ask(shop, "runs", "show", shop.name)
    assert (found["state"], found["actor"], found["commit"]) == ("done", "e2e", "0" * 40)
    assert found["started_from"] is None
    assert found["versions"]["scikit-learn"]
    names = [step["step"] for step in found["steps"]]
    assert names == ["snapshot", "train", "evaluate", "register"]
    assert all(step["state"] == "done" and step["seconds"] > 0 and step["ended_at"] for step in found["steps"])
    train = found["steps"][1]
    assert train["parameters"]["snapshot"] == found["steps"][0]["result"]["uri"]
    assert f"runs:/{train['result']['run_id']}" in train["artifacts"]
    (listed,) = ask(shop, "runs", "list", shop.name)
    assert [step["step"] for step in listed["steps"]] == names
    assert ask(shop, "runs", "show", train["result"]["run_id"])["id"] == found["id"]


def test_in_mlflow_the_steps_are_children_of_the_pipeline_run(shop: Shop) -> None:
    found = ask(shop, "runs", "show", shop.name)
    parent = shop.mlflow.get_run(found["mlflow_run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["platform.pipeline_run"] == found["id"]
    assert parent.data.tags["platform.started_from"] == "none"
    child = shop.mlflow.get_run(found["steps"][1]["result"]["run_id"])
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id


def test_its_events_lead_from_the_mart_to_the_model(shop: Shop, events: Path) -> None:
    written = [json.loads(line) for line in events.read_text().splitlines()]
    ended = {event["job"]["name"].rpartition(".")[2]: event for event in written if event["eventType"] == "COMPLETE"}
    assert ended["snapshot"]["inputs"][0]["name"] == f"warehouse.{shop.name}.orders"
    assert ended["snapshot"]["outputs"][0]["name"] == ended["train"]["inputs"][0]["name"]
    assert ended["train"]["outputs"] == ended["register"]["inputs"]
    assert ended["register"]["outputs"][0]["name"] == f"models/{shop.name}/1"
    assert len({event["run"]["facets"]["parent"]["run"]["runId"] for event in written}) == 1


def test_a_prediction_is_traced_to_its_snapshot_and_what_is_missing_is_said(shop: Shop) -> None:
    prediction_id = predict(shop)
    found = ask(shop, "trace", prediction_id)
    assert found["prediction"]["entity_key"] == "3-7"
    assert (found["model"]["version"], found["model"]["aliases"]) == (1, ["champion"])
    assert found["run"]["pipeline_run"] == f"ci/{shop.name}"
    assert found["code"]["commit"] == "0" * 40
    assert found["snapshot"]["rows"] == 3600
    # This shop's orders are put into the mart by hand.
    assert found["missing"] == ["dbt_run", "sync", "files"]
    assert f"no recorded run had built {shop.name}.orders" in found["notes"]["dbt_run"]
    screen = call(shop, "trace", prediction_id).stdout
    for word in ("3-7", f"{shop.name} version 1, now champion", "0" * 40, "s3://snapshots", "missing: no sync"):
        assert word in screen, screen


def test_a_model_that_is_no_longer_registered_is_traced_by_the_record(shop: Shop) -> None:
    prediction_id = predict(shop)
    shop.mlflow.delete_registered_model(shop.name)
    found = ask(shop, "trace", prediction_id)
    assert found["missing"][0] == "model"
    assert "no longer in the registry" in found["notes"]["model"]
    assert found["snapshot"]["rows"] == 3600


def test_what_is_asked_for_wrongly_is_told(shop: Shop) -> None:
    for words, message in (
        (("trace", "42"), "'42' is not the id of a prediction"),
        (("trace", "019350b4-5e6b-7abc-8def-012345000000"), "there is no prediction 019350b4"),
        (("runs", "show", "nothing-like-it"), "no pipeline run is called 'nothing-like-it'"),
    ):
        done = call(shop, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_failed_and_a_killed_step_are_recorded_as_what_they_are(shop: Shop) -> None:
    shop.variables["PLATFORM_PIPELINE_RUN"] = f"ci/{shop.name}-2"
    refused = shop.refused("evaluate", "--run-id", "0" * 32)
    found = ask(shop, "runs", "show", f"{shop.name}-2")
    assert (found["state"], found["steps"][0]["state"]) == ("failed", "failed")
    assert found["steps"][0]["error"].splitlines()[0] in refused
    killed = _kill_while_running(shop)
    listed = ask(shop, "runs", "list", shop.name, "--limit", "1")
    assert (listed[0]["state"], listed[0]["steps"][-1]) == ("failed", {"step": "train", "state": "failed"})
    shop.step("snapshot")
    found = ask(shop, "runs", "show", f"{shop.name}-2")
    assert [(step["step"], step["state"]) for step in found["steps"][1:]] == [("train", "failed"), ("snapshot", "done")]
    assert found["steps"][1]["error"].startswith(LOST)
    assert shop.mlflow.get_run(found["mlflow_run_id"]).info.status == "FAILED"
    assert shop.mlflow.get_run(killed).info.status == "KILLED"
    differ = ask(shop, "runs", "compare", f"ci/{shop.name}", f"{shop.name}-2")["differences"]
    assert differ["state"] == ["done", "failed"]
    assert "commit" not in differ


def _kill_while_running(shop: Shop) -> str:
    """Start a training, and kill it as soon as its MLflow run is there; the id of that run."""
    experiment = shop.mlflow.get_experiment_by_name(shop.name).experiment_id
    unfinished = "tags.`platform.step` = 'train' AND attributes.status = 'RUNNING'"
    command = [f"{shop.variables['ENVS_DIR']}/pipelines/bin/python", "-m", "pipelines", "train", shop.name]
    with subprocess.Popen(command, env=shop.variables, cwd=REPO, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + WAIT_SECONDS
        while not (found := shop.mlflow.search_runs([experiment], unfinished)):
            assert time.monotonic() < deadline, "the training has no run"
        process.send_signal(signal.SIGKILL)
    return str(found[0].info.run_id)
