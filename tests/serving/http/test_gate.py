"""What every request passes first, around small applications that show what comes through."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import RequestError
from serving.http.wire import json_answer
from serving.keys.key import NewKey
from serving.keys.keyring import Keyring
from serving.run import Server
from tests.serving.fakes import AsgiClient
from tests.serving.http.gate_fakes import (
    KEYS,
    PREDICT,
    Lines,
    broken,
    echo,
    exchange,
    logged,
    make_gate,
    run,
    send_request,
)


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


@pytest.fixture
def make(keyring: Keyring, tmp_path: Path) -> Any:
    def make(app: ASGIApp = echo) -> Any:
        return make_gate(tmp_path, app, keyring=keyring)

    return make


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return Keyring(KEYS, tmp_path / "keys.json")


def test_a_caller_with_the_right_key_comes_through(make: Any) -> None:
    answer = send_request(make())
    content = json.loads(answer.body)
    assert answer.status == 200
    assert content["caller"] == "client"
    assert content["scopes"] == ["feedback", "predict"]
    assert content["id"] == content["seen_by_logs"] == answer.headers["x-request-id"]
    assert answer.headers["x-own"] == "1"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE", "BREW"])
@pytest.mark.parametrize("path", [PREDICT, "/models", "/nowhere", "/keys", "/healthz/", "//healthz", "/webhooks/other"])
def test_without_a_key_nothing_is_told_but_how_to_get_one(make: Any, method: str, path: str) -> None:
    for key in (None, "wrong"):
        answer = send_request(make(broken), path, method, key)
        assert answer.status == 401
        assert "platform credentials serving" in answer.error()
        assert answer.headers["www-authenticate"].split()[0] == ("Basic" if method == "GET" else "Bearer")
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("HEAD", "/readyz"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("POST", "/webhooks/mlflow"),
    ],
)
def test_health_and_signed_calls_need_no_key(make: Any, method: str, path: str) -> None:
    for key in (None, "wrong", "client-key"):
        answer = send_request(make(), path, method, key)
        assert answer.status == 200
        assert json.loads(answer.body) | {"id": "", "seen_by_logs": ""} == {
            "caller": "",
            "scopes": [],
            "id": "",
            "seen_by_logs": "",
        }


def test_only_a_post_is_let_in_by_its_signature(make: Any) -> None:
    assert send_request(make(), "/webhooks/mlflow", "GET", None).status == 401


def test_a_missing_scope_is_named_with_the_key(make: Any) -> None:
    answer = send_request(make(broken), "/keys", "GET", "client-key")
    assert answer.status == 403
    assert "'client' lacks the scope 'admin'" in answer.error()
    assert "feedback, predict" in answer.error()
    assert send_request(make(broken), PREDICT, key="boss-key").status == 403
    assert send_request(make(), "/keys", "GET", "boss-key").status == 200
    assert send_request(make(), "/models", "GET", "boss-key").status == 200


def test_a_key_with_a_rate_is_held_to_it(make: Any, keyring: Keyring) -> None:
    _, secret = keyring.create(NewKey(name="app", scopes=["predict"], rate=0.01))
    gate = make()
    assert send_request(gate, "/keys", "GET", secret).status == 403, "takes no token"
    assert send_request(gate, key=secret).status == 200
    answer = send_request(gate, key=secret)
    assert answer.status == 429
    assert "'app' may send 0.01 requests a second" in answer.error()
    assert 90 <= int(answer.headers["retry-after"]) <= 100
    assert send_request(gate).status == 200


@pytest.mark.parametrize("given", ["abc", "A-b_c.9", "x" * 64])
def test_the_callers_request_id_is_kept(make: Any, given: str) -> None:
    assert send_request(make(), x_request_id=given).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\n", "a;b", "ä", '"', "a\x1b[31m"])
def test_any_other_request_id_is_replaced(make: Any, given: str) -> None:
    gate = make()
    ids = {send_request(gate, x_request_id=given).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(len(each) > 8 and given != each for each in ids)


def test_two_processes_draw_other_request_ids(make: Any) -> None:
    assert len({send_request(make()).headers["x-request-id"] for _ in range(5)}) == 5


def test_an_unexpected_error_is_an_answer_and_a_traceback(make: Any, lines: Lines) -> None:
    answer = send_request(make(broken), x_request_id="req-1")
    assert answer.status == 500
    assert "req-1" in answer.error()
    assert "secret detail" not in answer.error()
    failure = next(line for line in lines.all() if line["level"] == "error")
    assert failure["request_id"] == "req-1"
    assert "ValueError: a secret detail\nforged line" in failure["exception"]
    assert lines.access()[0]["status"] == 500


def test_an_error_in_a_page_of_the_control_plane_is_the_same(client: AsgiClient, server: Server, lines: Lines) -> None:
    async def page() -> None:
        raise ValueError("a secret detail")

    server.control.add_api_route("/broken", page)
    answer = client.get("/broken", x_request_id="req-1")
    assert answer.status == 500
    assert "req-1" in answer.json()["error"]
    failures = [line for line in lines.all() if line["level"] == "error"]
    assert ["ValueError: a secret detail" in line["exception"] for line in failures] == [True]


def test_a_request_error_that_nobody_rendered_is_answered(make: Any) -> None:
    async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
        raise RequestError(418, "no coffee", headers={"Retry-After": "9"})

    answer = send_request(make(refuses))
    assert (answer.status, answer.error(), answer.headers["retry-after"]) == (418, "no coffee", "9")


@pytest.mark.parametrize("error", [ValueError("late"), RequestError(500, "late")])
def test_an_error_in_the_middle_of_an_answer_adds_nothing_to_it(make: Any, error: Exception) -> None:
    async def half(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise error

    sent = exchange(make(half), PREDICT, "POST", "client-key")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_headers_of_an_answer_that_is_kept_are_not_changed(make: Any) -> None:
    headers = [(b"content-type", b"text/plain")]

    async def constant(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    gate = make(constant)
    send_request(gate)
    assert send_request(gate).headers["x-request-id"]
    assert len(headers) == 1


def test_the_lifespan_passes_and_a_websocket_does_not(make: Any) -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    gate = make(app)
    run(gate, {"type": "lifespan"}, [])
    sent = run(gate, {"type": "websocket", "path": "/", "headers": []}, [{"type": "websocket.connect"}])
    assert seen == ["lifespan"]
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_the_moment_of_arrival_is_handed_on(make: Any) -> None:
    moments = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        moments.append(scope["state"]["started"])
        await json_answer({}).send(send, [])

    before = time.perf_counter()
    send_request(make(app))
    assert before <= moments[0] <= time.perf_counter()
