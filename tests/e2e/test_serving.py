"""The model server on a real stack: MLflow moves it, PostgreSQL keeps what it says, keys let callers in."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.e2e.shop import Shop, open_shop
from tools.scratch import REPO, Stack

pytestmark = pytest.mark.airflow

SETTINGS = (REPO / "compose/settings.env").read_text().splitlines()
POLL = next(line for line in SETTINGS if line.startswith("SERVING_POLL_SECONDS="))
"""The setting as it is by default."""
RECORDS = [{"order_id": f"e2e-{n}", "country": "de", "price": 40.0 + n, "items": 1} for n in range(5)]


@pytest.fixture(scope="module")
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with two registered versions of its model, of which the first is champion."""
    with open_shop(tmp_path_factory.mktemp("serving"), stack.env) as opened:
        opened.release()
        opened.declare("max_iter: 20", "max_iter: 30")
        assert opened.release()["version"] == 2
        opened.mlflow.set_registered_model_alias(opened.name, "champion", "1")
        opened.await_served(1)
        yield opened


def client(stack: Stack, key: str | None = None) -> httpx.Client:
    account = stack.credentials("serving")
    return httpx.Client(
        base_url=account["url"], headers={"Authorization": f"Bearer {key or account['token']}"}, timeout=30
    )


def predict(api: httpx.Client, shop: Shop) -> dict[str, Any]:
    answer = api.post(f"/models/{shop.name}/predict", json={"records": RECORDS})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def stored(stack: Stack, ids: list[str]) -> int:
    """How many rows PostgreSQL holds for these predictions: one each, if all is well."""
    with psycopg.connect(stack.env["PREDICTIONS_URL"]) as connection:
        row = connection.execute(
            "SELECT count(*) FROM predictions WHERE prediction_id = ANY(%s::uuid[])", (ids,)
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_moved_alias_serves_by_mlflows_webhook(stack: Stack, shop: Shop) -> None:
    """The server is told by MLflow; that it asks by itself, once in ten minutes here, cannot be what did it."""
    stack.platform("up", "--set", "SERVING_POLL_SECONDS=600", check=True)
    try:
        with client(stack) as api:
            wait_for(lambda: predict(api, shop)["version"] == 1, "the champion serves after the restart")
            for version in (2, 1, 2, 1, 2, 1):
                shop.mlflow.set_registered_model_alias(shop.name, "champion", str(version))
                wait_for(lambda v=version: predict(api, shop)["version"] == v, f"version {version} serves")
    finally:
        stack.platform("up", "--set", POLL, check=True)


def test_a_webhook_that_mlflow_did_not_sign_is_refused(stack: Stack) -> None:
    url = stack.credentials("serving")["url"] + "/webhooks/mlflow"
    assert httpx.post(url, json={}).status_code == 401
    headers = {
        "X-MLflow-Signature": "v1,AAAA",
        "X-MLflow-Delivery-Id": "1",
        "X-MLflow-Timestamp": str(int(time.time())),
    }
    assert httpx.post(url, json={}, headers=headers).status_code == 401


def test_a_version_that_cannot_serve_is_tagged_in_the_registry(stack: Stack, shop: Shop) -> None:
    source = shop.mlflow.get_model_version(shop.name, "2")
    bad = shop.mlflow.create_model_version(
        shop.name,
        source.source,
        run_id=source.run_id,
        model_id=source.source.removeprefix("models:/"),
        tags={"platform.artifact_digest": "0" * 64},
    )
    shop.mlflow.set_registered_model_alias(shop.name, "champion", bad.version)

    def tag() -> str:
        return str(shop.mlflow.get_model_version(shop.name, bad.version).tags.get("platform.serving", ""))

    try:
        wait_for(lambda: "is not what was registered" in tag(), "the reason is a tag of the version")
        with client(stack) as api:
            assert predict(api, shop)["version"] == 1
            reported = api.get("/models").json()["not_served"]
            assert [(one["name"], str(one["version"])) for one in reported] == [(shop.name, bad.version)]
    finally:
        shop.mlflow.set_registered_model_alias(shop.name, "champion", "1")
        shop.mlflow.delete_model_version(shop.name, bad.version)


def test_what_postgresql_could_not_take_arrives_once_when_it_is_back(stack: Stack, shop: Shop) -> None:
    ids = []
    status = stack.status()
    with client(stack) as api:
        os.kill(status["postgres"]["pid"], signal.SIGKILL)
        for _ in range(20):
            ids += [one["prediction_id"] for one in predict(api, shop)["predictions"]]
        os.kill(status["serving-journal"]["pid"], signal.SIGKILL)
        os.kill(status["serving"]["pid"], signal.SIGKILL)
    stack.platform("up", check=True)
    wait_for(lambda: stored(stack, ids) >= len(ids), "all are in PostgreSQL", 60)
    assert stored(stack, ids) == len(set(ids)) == 100


def test_outcomes_join_their_predictions(stack: Stack, shop: Shop) -> None:
    with client(stack) as api:
        wait_for(lambda: api.get("/readyz").status_code == 200, "the server is ready")
        shop.await_served(1)
        first, second = predict(api, shop)["predictions"][:2]
        items = [
            {"prediction_id": first["prediction_id"], "outcome": 1},
            {"prediction_id": first["prediction_id"], "outcome": 0},
            {"entity_key": "e2e-1", "outcome": 1},
        ]
        for _ in range(2):
            assert api.post(f"/models/{shop.name}/feedback", json={"feedback": items}).status_code == 202
    query = "SELECT prediction_id::text, outcome FROM outcomes WHERE prediction_id = ANY(%s::uuid[])"
    wanted = {first["prediction_id"]: 0, second["prediction_id"]: 1}

    def joined() -> bool:
        with psycopg.connect(stack.env["PREDICTIONS_URL"]) as connection:
            return dict(connection.execute(query, (list(wanted),)).fetchall()) == wanted

    wait_for(joined, "the newest outcome stands beside its prediction")


def test_a_key_is_made_used_and_revoked(stack: Stack, shop: Shop) -> None:
    made = stack.platform("keys", "create", "till", "--scope", "predict", "--rate", "1000", check=True)
    key = made.stdout.strip()
    assert key not in "".join(path.read_text(errors="replace") for path in (stack.home / "logs").glob("serving*.log"))
    assert stack.platform("keys", "create", "till", "--scope", "predict").returncode == 1
    assert "till" in stack.platform("keys", "list", check=True).stdout
    with client(stack, key) as api:
        wait_for(lambda: api.get("/models").status_code == 200, "the key is good")
        identity = predict(api, shop)["predictions"][0]["prediction_id"]
        assert api.get("/keys").status_code == 403
        assert api.post(f"/models/{shop.name}/feedback", json={}).status_code == 403
        stack.platform("keys", "revoke", "till", check=True)
        wait_for(lambda: api.get("/models").status_code == 401, "the key is good for nothing")
    wait_for(lambda: stored(stack, [identity]) == 1, "the prediction is stored")
    with psycopg.connect(stack.env["PREDICTIONS_URL"]) as connection:
        row = connection.execute("SELECT caller FROM predictions WHERE prediction_id = %s", (identity,)).fetchone()
    assert row == ("till",)


def test_keys_are_hashed_where_they_are_kept(stack: Stack) -> None:
    secrets = (stack.home / "secrets.env").read_text()
    given = Path(stack.home, "state", "services", "serving.json").read_text()
    for line in secrets.splitlines():
        name, _, value = line.partition("=")
        if name.startswith("SERVING_") and name.endswith("_KEY"):
            assert value not in given, f"{name} is in the model server's environment"
