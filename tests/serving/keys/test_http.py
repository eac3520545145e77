"""Keys made and revoked over HTTP."""

import asyncio
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

from serving.errors import RequestError
from serving.http.control import scope_of
from serving.http.gate import Gate
from serving.keys.http import keys_router
from serving.keys.key import SCOPES, Key
from serving.keys.keyring import Keyring
from serving.keys.limit import RateLimit
from tests.serving.fakes import AsgiClient


async def refused(_: Request, error: Exception) -> Response:
    """Render the errors of the pages, as the control plane does for all of its pages."""
    assert isinstance(error, RequestError)
    return Response(json.dumps(error.body()), error.status)


@pytest.fixture
def pages(tmp_path: Path) -> FastAPI:
    boss = Key("boss", frozenset({"admin"}), sha256(b"boss-key").hexdigest())
    keyring = Keyring([boss], tmp_path / "keys.json")
    app = FastAPI()
    app.include_router(keys_router(keyring))
    app.add_exception_handler(RequestError, refused)
    app.state.keyring = keyring
    return app


@pytest.fixture
def client(pages: FastAPI, tmp_path: Path) -> Iterator[AsgiClient]:
    gate = Gate(pages, pages.state.keyring, RateLimit(tmp_path), lambda _, path: scope_of(path), "errors")
    loop = asyncio.new_event_loop()
    yield AsgiClient(gate, loop, {"authorization": "Bearer boss-key"})
    loop.close()


def test_a_key_is_made_used_listed_and_revoked(client: AsgiClient) -> None:
    made = client.post("/keys", {"name": "app", "scopes": ["feedback", "predict"], "rate": 2.5})
    assert made.status == 201
    assert made.headers["cache-control"] == "no-store"
    content = made.json()
    secret = content.pop("key")
    listed = client.get("/keys").json()["keys"]
    assert [entry["name"] for entry in listed] == ["boss", "app"]
    assert listed[1] == content
    assert content["scopes"] == ["predict", "feedback"]
    assert content["rate"] == 2.5
    assert (listed[0]["builtin"], content["builtin"]) == (True, False)
    assert secret not in json.dumps(listed)
    assert client.get("/keys", authorization=f"Bearer {secret}").status == 403
    revoked = client.call("DELETE", "/keys/app", [], {})
    assert (revoked.status, revoked.json()) == (200, {"revoked": "app"})
    assert client.get("/keys", authorization=f"Bearer {secret}").status == 401


def test_what_is_not_there_or_not_ours_to_revoke(client: AsgiClient) -> None:
    assert client.call("DELETE", "/keys/app", [], {}).status == 404
    assert client.call("DELETE", "/keys/boss", [], {}).status == 409
    assert client.call("DELETE", "/keys/..%2f", [], {}).status == 404


def test_a_name_that_is_taken(client: AsgiClient) -> None:
    answer = client.post("/keys", {"name": "boss", "scopes": ["predict"]})
    assert answer.status == 409
    assert "'boss' already" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, ["not JSON"]),
        (b"[" * 5000, 400, ["not JSON"]),
        ([], 422, ["the body"]),
        ({}, 422, ["name: Field required", "scopes: Field required"]),
        ({"name": "App", "scopes": ["predict"]}, 422, ["name: expected 1 to 40 lower-case letters"]),
        ({"name": "app", "scopes": ["root"]}, 422, ["scopes.0: expected 'predict'", *SCOPES]),
        ({"name": "app", "scopes": []}, 422, ["scopes", "at least 1"]),
        ({"name": "app", "scopes": ["predict"], "rate": 0}, 422, ["rate: expected greater than 0"]),
        (b'{"name": "app", "scopes": ["predict"], "rate": NaN}', 422, ["rate", "finite"]),
        ({"name": "app", "scopes": ["predict"], "key": "chosen"}, 422, ["key: Extra inputs"]),
        (b" " * 70_000, 413, ["larger than 65536 bytes"]),
    ],
)
def test_a_wrong_body_is_said_by_field(client: AsgiClient, body: Any, status: int, words: list[str]) -> None:
    answer = client.post("/keys", [body])
    assert answer.status == status
    assert all(word in answer.json()["error"] for word in words), answer.body
    assert len(client.get("/keys").json()["keys"]) == 1


def test_a_page_in_a_browser_cannot_post_a_form_here(client: AsgiClient) -> None:
    body = {"name": "app", "scopes": ["admin"]}
    assert client.post("/keys", body, content_type="text/plain").status == 415


def test_every_page_needs_the_admin_scope_and_is_described(pages: FastAPI) -> None:
    described = pages.openapi()
    assert set(described["paths"]) == {"/keys", "/keys/{name}"}
    assert {scope_of(path) for path in described["paths"]} == {"admin"}
    body = described["paths"]["/keys"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["scopes"]["items"]["enum"] == list(SCOPES)
    assert body["properties"]["name"]["pattern"]
    assert body["additionalProperties"] is False
