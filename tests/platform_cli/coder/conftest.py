from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from platform_cli.coder import client
from platform_cli.coder.client import Coder
from platform_cli.home import Home
from tests.platform_cli.coder.stand_in import Handler, State


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def server(state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """The stand-in on a port of loopback; each look at a build brings it one step on."""
    monkeypatch.setattr(client, "POLL_SECONDS", 0.0)
    handler = type("OneServer", (Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def coder(url: str) -> Iterator[Coder]:
    with Coder(url) as coder:
        yield coder


@pytest.fixture
def home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home in which the stack was set up, and that commands find."""
    monkeypatch.setenv("PLATFORM_HOME", str(home.root))
    return home
