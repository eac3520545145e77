"""What the accounts of MLflow may do beyond MLflow's own permissions, and what they may not; what its roles grant."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response
from mlflow.server.auth import auth_config
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
from werkzeug.datastructures import Authorization

from compose.mlflow import accounts
from compose.mlflow.init import make_roles
from compose.mlflow.roles import ROLES
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


LOG, REGISTER = "/api/2.0/mlflow/runs/create", "/api/2.0/mlflow/registered-models/create"
ALIAS, OWN_PASSWORD = "/ajax-api/2.0/mlflow/registered-models/alias", "/api/2.0/mlflow/users/update-password"


@pytest.mark.parametrize(
    ("role", "log", "register", "move_alias"),
    [
        ("viewer", "403", "403", "403"),
        ("scientist", "ana", "403", "403"),
        ("engineer", "ana", "ana", "ana"),
        ("admin", "ana", "ana", "ana"),
        ("disabled", "403", "403", "403"),
    ],
)
def test_what_a_role_may_write_before_mlflow_itself_is_asked(
    monkeypatch: pytest.MonkeyPatch, role: str, log: str, register: str, move_alias: str
) -> None:
    monkeypatch.setattr(accounts, "roles_of", lambda person: frozenset({role}) if person == "ana" else frozenset())
    assert decision(monkeypatch, "ana", "POST", LOG) == log
    assert decision(monkeypatch, "ana", "POST", REGISTER) == register
    assert decision(monkeypatch, "ana", "DELETE", ALIAS) == move_alias
    reading = "403" if role == "disabled" else "ana"
    for method, path in (
        ("GET", "/api/2.0/mlflow/runs/get"),
        ("POST", "/ajax-api/2.0/mlflow/runs/search"),
        ("POST", "/graphql"),
        ("PATCH", OWN_PASSWORD),
    ):
        assert decision(monkeypatch, "ana", method, path) == reading, path


def test_a_persons_programs_act_as_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    roles = {"ana": frozenset({"scientist"}), "ben": frozenset({"viewer"})}
    monkeypatch.setattr(accounts, "roles_of", lambda person: roles[person])
    assert decision(monkeypatch, "ana.workspace", "POST", LOG) == "ana"
    assert decision(monkeypatch, "ana.workspace", "POST", REGISTER) == "403"
    assert decision(monkeypatch, "ben.workspace", "POST", LOG) == "403"


def test_artifacts_that_are_named_like_the_registry_are_not_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "roles_of", lambda person: frozenset({"scientist"}))
    path = "/api/2.0/mlflow-artifacts/artifacts/7/run/artifacts/registered-models/list.csv"
    assert decision(monkeypatch, "ana", "PUT", path) == "ana"


def test_roles_are_made_once_and_brought_back_to_what_they_grant(tmp_path: Path) -> None:
    store = SqlAlchemyStore()
    store.init_db(f"sqlite:///{tmp_path}/auth.db")
    make_roles(store)
    by_name = {role.name: role for role in store.list_roles()}
    store.add_role_permission(by_name["scientist"].id, "registered_model", "*", "MANAGE")
    for held in store.list_role_permissions(by_name["engineer"].id):
        store.remove_role_permission(held.id)
    make_roles(store)
    found = {
        role.name: {(held.resource_type, held.resource_pattern, held.permission) for held in role.permissions}
        for role in store.list_roles()
    }
    assert found == {name: set(grants) for name, grants in ROLES.items()}
    assert found["engineer"] and not found["scientist"]


def test_the_roles_of_somebody_are_those_that_were_assigned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqlAlchemyStore()
    store.init_db(f"sqlite:///{tmp_path}/auth.db")
    make_roles(store)
    monkeypatch.setattr(accounts, "store", store)
    ana = store.create_user("ana", "a long enough password")
    (viewer,) = (role for role in store.list_roles() if role.name == "viewer")
    store.assign_role_to_user(ana.id, viewer.id)
    with Flask("test").test_request_context("/"):
        assert accounts.roles_of("ana") == {"viewer"}
