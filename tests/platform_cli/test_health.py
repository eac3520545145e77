from __future__ import annotations

import base64
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from platform_cli.home import REPO
from platform_cli.local.health import check
from platform_cli.local.spec import Spec
from platform_cli.stack.model import Healthcheck

SPEC = Spec("web", "/h", (), {"PATH": "/usr/bin:/bin", "WORD": "yes"}, "/", "")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        expected = "Basic " + base64.b64encode(b"user:p@ss").decode()
        wanted = {"/open": 200, "/broken": 500}.get(self.path, 401)
        if self.path == "/closed?a=1" and self.headers["Authorization"] == expected:
            wanted = 204
        self.send_response(wanted)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def wget(url: str) -> Healthcheck:
    return Healthcheck(("wget", "-q", "-O", "/dev/null", url), timeout=2)


def test_an_answer_of_2xx_is_healthy(address: str) -> None:
    assert check(wget(f"http://{address}/open"), SPEC).ok


@pytest.mark.parametrize(("path", "code"), [("broken", 500), ("closed", 401)])
def test_another_answer_is_not_and_says_what_it_was(address: str, path: str, code: int) -> None:
    result = check(wget(f"http://{address}/{path}"), SPEC)
    assert not result.ok
    assert str(code) in result.detail


def test_credentials_in_the_address_are_sent_and_not_shown(address: str) -> None:
    assert check(wget(f"http://user:p%40ss@{address}/closed?a=1"), SPEC).ok
    assert "ss" not in check(wget(f"http://user:ss@{address}/closed?a=1"), SPEC).detail.replace("closed", "")


def test_nobody_there_is_not_healthy() -> None:
    result = check(wget("http://127.0.0.1:1/"), SPEC)
    assert not result.ok
    assert "refused" in result.detail


def test_a_program_is_run_in_the_services_environment() -> None:
    assert check(Healthcheck(("sh", "-c", 'test "$WORD" = yes')), SPEC).ok
    assert check(Healthcheck(("sh", "-c", "echo sorry; exit 3")), SPEC).detail == "sorry"


def test_a_program_that_hangs_or_is_not_there_is_not_healthy() -> None:
    assert "longer than 0.2 s" in check(Healthcheck(("sleep", "5"), timeout=0.2), SPEC).detail
    assert "no-such-program" in check(Healthcheck(("no-such-program",)), SPEC).detail


def test_a_program_knows_when_the_service_was_started() -> None:
    assert check(Healthcheck(("sh", "-c", 'test "$SERVICE_STARTED" = 17.0')), SPEC, started=17.0).ok


class Airflow(BaseHTTPRequestHandler):
    """Says what Airflow's api-server says of its parts."""

    def do_GET(self) -> None:
        beat = {"status": "healthy", "latest_scheduler_heartbeat": "1970-01-01T00:01:40+00:00"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"scheduler": beat, "triggerer": {"status": None}}).encode())

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("part", "started", "detail"),
    [
        ("scheduler", 100.0, ""),
        ("scheduler", 101.0, "scheduler has sent no heartbeat since its start"),
        ("triggerer", 0.0, "triggerer is not running"),
    ],
)
def test_a_heartbeat_of_the_process_before_does_not_count(part: str, started: float, detail: str) -> None:
    server = HTTPServer(("127.0.0.1", 0), Airflow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = REPO / "compose" / "airflow" / "healthcheck.py"
    words = (sys.executable, "-I", "-S", str(program), part, f"http://127.0.0.1:{server.server_port}")
    try:
        result = check(Healthcheck(words), SPEC, started)
    finally:
        server.shutdown()
    assert (result.ok, result.detail) == (not detail, detail)
