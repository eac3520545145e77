"""`platform keys` against a stand-in of the model server's three endpoints, over real HTTP."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from platform_cli import main as entry
from platform_cli.commands import keys
from platform_cli.stack.secrets import Secret

CLIENT = {"name": "client", "scopes": ["predict", "feedback"], "rate": None, "created": None, "builtin": True}


class StandIn(BaseHTTPRequestHandler):
    """Answers as the model server does: same paths, statuses and shapes."""

    made: dict[str, dict[str, Any]]

    def do_GET(self) -> None:
        self.answer(200, {"keys": [CLIENT, *self.made.values()]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["name"] in self.made:
            self.answer(409, {"error": f"there is a key {body['name']!r} already; revoke it first"})
        elif body["scopes"] == ["root"]:
            self.answer(422, {"error": "scopes.0: expected 'predict', 'feedback', 'metrics' or 'admin'"})
        else:
            made = body | {"created": "2026-11-21T10:00:00.123+00:00", "builtin": False}
            self.made[body["name"]] = made
            self.answer(201, made | {"key": "mp_the-key"})

    def do_DELETE(self) -> None:
        name = self.path.removeprefix("/keys/")
        if name == "client":
            self.answer(409, {"error": "'client' is a key of the platform itself"})
        elif self.made.pop(name, None):
            self.answer(200, {"revoked": name})
        else:
            self.answer(404, {"error": f"there is no key {name!r}; there are: none"})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        if self.headers["Authorization"] != "Bearer admin-key":
            status, content = 401, {"error": "no valid API key"}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    handler = type("Handler", (StandIn,), {"made": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def stack(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stack that runs, as far as the command asks."""
    serving = SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}")
    stack = SimpleNamespace(
        service=lambda name: {"serving": serving}[name],
        secrets={"SERVING_ADMIN_KEY": Secret("admin-key")},
    )
    monkeypatch.setattr(keys, "open_running", lambda: SimpleNamespace(stack=stack))
    return stack


@pytest.fixture
def platform(stack: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `platform keys …`."""
        monkeypatch.setattr(sys, "argv", ["platform", "keys", *words])
        with pytest.raises(SystemExit) as ended:
            entry.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_create_prints_the_key_alone_and_what_to_do_with_it(platform: Any) -> None:
    code, printed, said = platform("create", "app", "--scope", "predict", "--scope", "feedback", "--rate", "2.5")
    assert (code, printed) == (0, "mp_the-key\n")
    assert "key app may predict, feedback, 2.5 times a second" in said
    assert "platform keys revoke app" in said
    assert "mp_" not in said


def test_create_as_json(platform: Any) -> None:
    code, printed, _ = platform("create", "app", "--scope", "predict", "--json")
    assert code == 0
    assert json.loads(printed)["key"] == "mp_the-key"
    assert json.loads(printed)["rate"] is None


def test_list_shows_who_may_what(platform: Any) -> None:
    platform("create", "app", "--scope", "predict", "--rate", "10")
    code, printed, _ = platform("list")
    _, client, app = (line.split() for line in printed.splitlines())
    assert code == 0
    assert client == ["client", "predict,", "feedback", "no", "limit", "by", "`platform", "up`"]
    assert app == ["app", "predict", "10", "2026-11-21", "10:00:00", "UTC"]
    _, printed, _ = platform("list", "--json")
    assert [key["name"] for key in json.loads(printed)] == ["client", "app"]


def test_revoke(platform: Any) -> None:
    platform("create", "app", "--scope", "predict")
    code, printed, said = platform("revoke", "app")
    assert (code, printed) == (0, "")
    assert "key app is revoked" in said
    assert "makes a new one" in said
    platform("create", "app", "--scope", "predict")
    assert json.loads(platform("revoke", "app", "--json")[1]) == {"revoked": "app"}
    assert len(json.loads(platform("list", "--json")[1])) == 1


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("create", "app", "--scope", "root"), 2, "scopes.0: expected 'predict', 'feedback'"),
        (("create", "app"), 2, "Missing option '--scope'"),
        (("create", "app", "--scope", "predict", "--rate", "fast"), 2, "Invalid value for '--rate'"),
        (("create", "app", "--scope", "predict", "--rate", "nan"), 2, "--rate: expected a number above 0"),
        (("create", "app", "--scope", "predict", "--rate", "0"), 2, "--rate: expected a number above 0"),
        (("create", "taken", "--scope", "predict"), 1, "there is a key 'taken' already"),
        (("revoke", "nobody"), 2, "there is no key 'nobody'"),
        (("revoke", "client"), 1, "is a key of the platform itself"),
        (("revoke", "a/b"), 2, "there is no key 'a%2Fb'"),
    ],
)
def test_what_is_refused_is_said_with_an_exit_code(
    platform: Any, words: tuple[str, ...], code: int, message: str
) -> None:
    platform("create", "taken", "--scope", "predict")
    got, printed, said = platform(*words)
    assert (got, printed) == (code, "")
    assert message in said


def test_a_server_that_is_down_or_does_not_know_the_key(
    platform: Any, stack: SimpleNamespace, server: ThreadingHTTPServer
) -> None:
    stack.secrets["SERVING_ADMIN_KEY"] = Secret("another")
    code, _, said = platform("list")
    assert code == 1
    assert "answered 401: no valid API key" in said
    server.shutdown()
    server.server_close()
    code, _, said = platform("create", "app", "--scope", "predict")
    assert code == 1
    assert "does not answer" in said
    assert "platform status" in said
