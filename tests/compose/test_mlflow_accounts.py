"""What the accounts of MLflow may do beyond MLflow's own permissions, and what they may not."""

import json
from typing import Any

import pytest
from flask import Flask, Response
from mlflow.server.auth import auth_config
from werkzeug.datastructures import Authorization

from compose.mlflow import accounts
from contract import GATE_TAG, SERVING_STATUS_TAG

SET, DELETE = "/api/2.0/mlflow/model-versions/set-tag", "/api/2.0/mlflow/model-versions/delete-tag"
VERSION = {"name": "m", "version": "3", "key": SERVING_STATUS_TAG}
STATUS = VERSION | {"value": "refused as champion: no"}


def body(fields: Any) -> bytes:
    return json.dumps(fields).encode()


def decision(monkeypatch: pytest.MonkeyPatch, account: str, method: str, path: str, content: bytes = b"") -> str:
    """Whom MLflow takes the caller for, or the status of the refusal."""
    known = Authorization("basic", {"username": account, "password": "p"})
    monkeypatch.setattr(accounts, "authenticate_request_basic_auth", lambda: known)
    with Flask("test").test_request_context(path, method=method, data=content, content_type="application/json"):
        found = accounts.authenticate()
    return str(found.status_code) if isinstance(found, Response) else str(found.username)


@pytest.mark.parametrize(("method", "path", "fields"), [("POST", SET, STATUS), ("DELETE", DELETE, VERSION)])
def test_the_model_server_may_write_its_own_tag(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, fields: dict[str, str]
) -> None:
    assert decision(monkeypatch, "serving", method, path, body(fields)) == auth_config.admin_username
    assert decision(monkeypatch, "prometheus", method, path, body(fields)) == "403"
    assert decision(monkeypatch, "pipelines", method, path, body(fields)) == "pipelines", "it has its own permissions"


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", SET, body(STATUS | {"key": GATE_TAG})),
        ("DELETE", DELETE, body(VERSION | {"key": GATE_TAG})),
        ("POST", SET, body(VERSION)),
        ("POST", SET, body(STATUS | {"more": "x"})),
        ("POST", SET, body(STATUS)[:-1] + f', "key": "{GATE_TAG}"}}'.encode()),
        ("POST", SET, f'{{"key": "{GATE_TAG}", '.encode() + body(STATUS)[1:]),
        ("POST", SET, body(list(STATUS.items()))),
        ("POST", SET, body(body(STATUS).decode())),
        ("POST", SET, b""),
        ("POST", SET, b"null"),
        ("POST", SET, b"\xff"),
        ("DELETE", SET, body(STATUS)),
        ("PUT", SET, body(STATUS)),
        ("POST", SET + "/", body(STATUS)),
        ("POST", "/ajax-api/2.0/mlflow/model-versions/set-tag", body(STATUS)),
        ("POST", "/api/2.0/mlflow/registered-models/set-tag", body(STATUS)),
        ("POST", "/api/2.0/mlflow/registered-models/alias", body({"name": "m", "alias": "champion", "version": "3"})),
        ("PATCH", "/api/2.0/mlflow/model-versions/update", body(STATUS)),
        ("POST", "/api/2.0/mlflow/runs/create", body({"experiment_id": "0"})),
    ],
)
def test_the_model_server_may_write_nothing_else(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, content: bytes
) -> None:
    assert decision(monkeypatch, "serving", method, path, content) == "403"


@pytest.mark.parametrize("account", ["serving", "prometheus"])
def test_readers_read(monkeypatch: pytest.MonkeyPatch, account: str) -> None:
    for method, path in (
        ("GET", "/api/2.0/mlflow/model-versions/get"),
        ("GET", "/api/2.0/mlflow/registered-models/search"),
        ("POST", "/api/2.0/mlflow/runs/search"),
    ):
        assert decision(monkeypatch, account, method, path) == account


def test_who_is_not_known_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "authenticate_request_basic_auth", lambda: Response(status=401))
    with Flask("test").test_request_context(SET, method="POST", data=body(STATUS)):
        assert accounts.authenticate().status_code == 401
