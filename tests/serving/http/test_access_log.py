"""The gate's line about a request."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from serving.http import gate as gate_module
from serving.http.wire import json_answer
from tests.serving.http.gate_fakes import Lines, echo, logged, make_gate, send_request


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged() as lines:
        yield lines


def test_the_access_log_has_what_went_wrong(tmp_path: Path, lines: Lines) -> None:
    gate = make_gate(tmp_path, echo)
    send_request(gate)
    send_request(gate, "/keys", "GET", "client-key", x_request_id="req-7")
    send_request(gate, "/keys", "GET", "stolen-key")
    forbidden, unknown = lines.access()
    assert forbidden | {"time": "", "ms": 0} == {
        "time": "",
        "level": "info",
        "logger": "serving.access",
        "message": "request",
        "request_id": "req-7",
        "caller": "client",
        "method": "GET",
        "path": "/keys",
        "status": 403,
        "ms": 0,
    }
    assert unknown["caller"] is None
    assert "-key" not in json.dumps(unknown)


def test_the_access_log_can_have_all(tmp_path: Path, lines: Lines) -> None:
    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["log"] = {"model": "m", "version": 3, "role": "champion"}
        await json_answer({}).send(send, [])

    send_request(make_gate(tmp_path, handler, "all"))
    (line,) = lines.access()
    assert (line["status"], line["model"], line["version"], line["role"]) == (200, "m", 3, "champion")


def test_a_slow_request_is_in_the_access_log(tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "SLOW_SECONDS", 0.01)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await json_answer({}).send(send, [])
        await asyncio.sleep(0.02)

    send_request(make_gate(tmp_path, slow))
    assert lines.access()[0]["ms"] >= 20


def test_a_caller_cannot_forge_lines(tmp_path: Path, lines: Lines) -> None:
    path = '/x\n{"level": "error"}\r\x1b[2J\u2028\x9b' + "y" * 5000
    send_request(make_gate(tmp_path, echo), path, "GET", None)
    (line,) = lines.all()
    assert line["path"].startswith('/x\n{"level"')
    assert len(line["path"]) < 400
