"""What `ALERT_TO` says reaches whom it names: the real Alertmanager, a web server and a mail server of the test's own.

Each test is one way. All are sent at the beginning, since Alertmanager waits some seconds for more to send along.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword

from platform_cli.home import Home
from platform_cli.local.spec import make_spec
from platform_cli.stack.compose import load_stack
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.secrets import reveal
from platform_cli.stack.settings import save_settings
from tools.scratch import free_ports

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

ENVS = Path(os.environ["PLATFORM_TEST_ENVS"])
AMTOOL = ENVS / "prometheus/bin/amtool"
SECONDS = 40
PASSWORD = "the mail server's"
ALERT = {
    "labels": {"alertname": "DataDrift", "severity": "warning", "project": "shop"},
    "annotations": {"summary": "What shop is asked differs", "runbook_url": "docs/monitoring.md#datadrift"},
}


@dataclass
class Mailbox:
    """Takes mail from the user `alerts` alone, without TLS."""

    mails: list[tuple[Envelope, Message]] = field(default_factory=list)

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:
        self.mails.append((envelope, message_from_bytes(envelope.content or b"")))
        return "250 OK"

    def knows(self, _server: object, _session: object, _envelope: object, _kind: str, who: object) -> AuthResult:
        known = LoginPassword(b"alerts", PASSWORD.encode())
        return AuthResult(success=who == known)


@dataclass(frozen=True)
class Alertmanager:
    """One that runs as the platform runs it."""

    process: subprocess.Popen[bytes]
    client: httpx.Client

    def count(self, metric: str) -> float:
        """The sum of a counter over all ways of sending."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(metric + "{"))


@dataclass(frozen=True)
class Sent:
    """What came of one alert, sent to each."""

    posted: list[dict[str, Any]]
    mailbox: Mailbox
    alertmanagers: dict[str, Alertmanager]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    posted: list[dict[str, Any]] = []
    web = web_server(posted)
    mailbox = Mailbox()
    [mail_port] = free_ports(1)
    mail = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mail_port,
        authenticator=mailbox.knows,
        auth_required=True,
        auth_require_tls=False,
        # it asks for the name in words of its own
        auth_exclude_mechanism=["LOGIN"],
    )
    mail.start()
    mailed = {
        "ALERT_TO": "mailto:owner@example.com,second@example.com",
        "ALERT_SMTP_SERVER": f"127.0.0.1:{mail_port}",
        "ALERT_SMTP_FROM": "alerts@example.com",
        "ALERT_SMTP_USER": "alerts",
    }
    ways = {
        "nowhere": {},
        "webhook": {"ALERT_TO": f"http://127.0.0.1:{web.server_port}/alerts?team=data"},
        "mail": {**mailed, "ALERT_SMTP_TLS": "false"},
        "mail over TLS alone": mailed,
    }
    ports = free_ports(len(ways))
    started = {
        way: start(tmp_path_factory.mktemp("home"), settings | {"ALERTMANAGER_PORT": str(port)})
        for (way, settings), port in zip(ways.items(), ports, strict=True)
    }
    try:
        for alertmanager in started.values():
            until(lambda one=alertmanager: ready(one))
            alertmanager.client.post("/api/v2/alerts", json=[ALERT]).raise_for_status()
        yield Sent(posted, mailbox, started)
    finally:
        for alertmanager in started.values():
            alertmanager.process.terminate()
            alertmanager.process.wait()
        mail.stop()
        web.shutdown()


def web_server(posted: list[dict[str, Any]]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append({"path": self.path, **json.loads(body)})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def start(root: Path, settings: dict[str, str]) -> Alertmanager:
    """Alertmanager with its files and its command as `platform up` makes them; the owner's password is in place."""
    home = Home(root / "home")
    home.root.mkdir()
    home.envs.symlink_to(ENVS)
    home.make()
    save_settings(home, settings)
    load_stack(home, create_secrets=True)
    text = home.secrets_file.read_text()
    assert "\nALERT_SMTP_PASSWORD=\n" in text, "it is the owner's to give"
    home.secrets_file.write_text(text.replace("ALERT_SMTP_PASSWORD=", f"ALERT_SMTP_PASSWORD={PASSWORD}"))
    stack = load_stack(home, create_secrets=False)
    service = stack.services["alertmanager"]
    for config in service.configs:
        config.target.parent.mkdir(parents=True, exist_ok=True)
        config.target.write_text(reveal(config.content))
    subprocess.run([AMTOOL, "check-config", service.configs[0].target], check=True, capture_output=True)
    spec = make_spec(service, stack, home, as_root=False)
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            spec.command, env=dict(spec.environment), cwd=spec.directory, stdout=log, stderr=subprocess.STDOUT
        )
    password = read_env_file(home.secrets_file)["ALERTMANAGER_PASSWORD"]
    address = f"http://127.0.0.1:{settings['ALERTMANAGER_PORT']}"
    return Alertmanager(process, httpx.Client(base_url=address, auth=("alertmanager", password)))


def ready(alertmanager: Alertmanager) -> bool:
    assert alertmanager.process.poll() is None, "it has ended"
    try:
        return alertmanager.client.get("/-/ready").is_success
    except httpx.TransportError:
        return False


def until(fulfilled: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not fulfilled():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_webhook_gets_the_alert_with_its_run_book(sent: Sent) -> None:
    until(lambda: sent.posted)
    [message] = sent.posted
    assert (message["path"], message["status"]) == ("/alerts?team=data", "firing")
    [alert] = message["alerts"]
    assert alert["labels"] == ALERT["labels"]
    assert alert["annotations"] == ALERT["annotations"]


def test_a_mail_reaches_everybody_who_is_named_and_says_what_it_is(sent: Sent) -> None:
    until(lambda: sent.mailbox.mails)
    [(envelope, mail)] = sent.mailbox.mails
    assert envelope.rcpt_tos == ["owner@example.com", "second@example.com"]
    assert mail["From"] == "alerts@example.com"
    assert "DataDrift" in mail["Subject"]
    text = b"".join(part.get_payload(decode=True) for part in mail.walk() if not part.is_multipart()).decode()
    assert "What shop is asked differs" in text
    assert "docs/monitoring.md#datadrift" in text


def test_a_mail_server_without_tls_gets_nothing_unless_it_is_allowed(sent: Sent) -> None:
    strict = sent.alertmanagers["mail over TLS alone"]
    until(lambda: strict.count("alertmanager_notification_requests_failed_total"))
    until(lambda: sent.mailbox.mails)
    assert len(sent.mailbox.mails) == 1, "that of the one which is allowed to"


def test_without_an_address_alerts_are_shown_and_nothing_is_sent(sent: Sent) -> None:
    until(lambda: sent.posted)
    silent = sent.alertmanagers["nowhere"]
    [shown] = silent.client.get("/api/v2/alerts").json()
    assert shown["labels"] == ALERT["labels"]
    assert shown["receivers"] == [{"name": "owner"}]
    assert silent.count("alertmanager_notification_requests_total") == 0
