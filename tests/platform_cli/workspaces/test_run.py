"""Workspaces start, stop and fail under a real supervisord; JupyterLab and VS Code are programs that only answer."""

from __future__ import annotations

import getpass
import io
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from platform_cli.errors import PlatformError, UsageError
from platform_cli.home import Home
from platform_cli.local import runtime as local_runtime
from platform_cli.local.environments import Environment
from platform_cli.local.processes import stack_processes
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import LocalRuntime
from platform_cli.stack.model import Stack
from platform_cli.stack.secrets import Secret
from platform_cli.workspaces import run, services
from platform_cli.workspaces.model import Workspace, load, load_all
from tools.scratch import free_ports

INSTALLS = 'mkdir -p "$1/bin" && touch "$1/bin/tool"\n'
SCRIPTS = {
    "workspace-home": 'mkdir -p "$HOME/.venv/bin" && touch "$HOME/.venv/bin/python"\n',
    "workspace-jupyter": 'exec python3 "$(dirname "$0")/answer.py" "$JUPYTER_PORT"\n',
    "workspace-vscode": 'exec python3 "$(dirname "$0")/answer.py" "$VSCODE_PORT"\n',
}
ANSWER = """\
import http.server, json, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
"""


@dataclass
class Place:
    """A stack without services, and its workspaces."""

    home: Home
    scripts: Path
    settings: dict[str, str]
    recipes: dict[str, Path]
    credentials: dict[str, Secret | str] = field(default_factory=lambda: {"WHO": "ana", "KEY": Secret("k3y")})
    said: str = ""
    changed: int = 0

    def runtime(self) -> LocalRuntime:
        stack = Stack({}, self.settings, {})
        return LocalRuntime(services.with_workspaces(stack, load_all(self.home), self.home), self.home)

    def start(self, name: str = "ana") -> Workspace:
        return self._tell(lambda progress: run.start(self.runtime(), name, progress))

    def stop(self, name: str = "ana") -> None:
        self._tell(lambda progress: run.stop(self.runtime(), name, progress))

    def up(self) -> None:
        self._tell(lambda progress: self.runtime().up(progress))

    def down(self) -> None:
        self._tell(lambda progress: self.runtime().down(progress))

    def services(self) -> set[str]:
        """Those of which a process lives, supervisord left out."""
        return {process.service for process in stack_processes(self.home.root)} - {"supervisord"}

    def write(self, script: str, text: str) -> None:
        file = self.scripts / script
        file.write_text(f"#!/bin/sh\n{text}")
        file.chmod(0o755)

    def _tell(self, action: Any) -> Any:
        console = io.StringIO()
        with Progress(Console(file=console, width=160)) as progress:
            try:
                return action(progress)
            finally:
                self.said, self.changed = console.getvalue(), progress.changed


@pytest.fixture
def place(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    ports = free_ports(4)
    settings = {
        "SERVICE_USER": getpass.getuser(),
        "WORKSPACE_USER": getpass.getuser(),
        "WORKSPACE_PORTS": f"{ports[0]}-{ports[0] + 20}",
    }
    recipes = {name: tmp_path / name / "install.sh" for name in services.ENVIRONMENTS}
    for recipe in recipes.values():
        recipe.parent.mkdir()
        recipe.write_text(INSTALLS)
    made = Place(home, tmp_path / "scripts", settings, recipes)
    made.scripts.mkdir()
    (made.scripts / "answer.py").write_text(ANSWER)
    for script, text in SCRIPTS.items():
        made.write(script, text)
    toys = {name: Environment(name, (recipe,), home.envs / name) for name, recipe in recipes.items()}
    monkeypatch.setattr(local_runtime, "environments", lambda _: toys)
    monkeypatch.setattr(services, "SCRIPTS", str(made.scripts))
    monkeypatch.setattr(services, "USED", ())
    monkeypatch.setattr(run, "workspace_environment", lambda _, __: made.credentials)
    yield made
    made.down()
    assert stack_processes(home.root) == []


def environment_of(url: str) -> dict[str, str]:
    return dict(httpx.get(url, timeout=5).json())


def test_a_workspace_starts_once_and_stops_with_its_home_kept(place: Place) -> None:
    workspace = place.start()
    assert place.services() == {"jupyterlab-ana", "vscode-ana"}
    jupyterlab, vscode = environment_of(workspace.jupyter_url), environment_of(workspace.vscode_url)
    for environment in (jupyterlab, vscode):
        assert (environment["WHO"], environment["KEY"]) == ("ana", "k3y")
        assert environment["HOME"] == str(place.home.workspaces / "ana")
    assert jupyterlab["JUPYTER_TOKEN"] == vscode["PASSWORD"] == workspace.token.reveal()
    assert len(workspace.token.reveal()) >= 32
    (status,) = run.statuses(place.runtime())
    assert (status.name, status.state, status.jupyterlab) == ("ana", "running", workspace.jupyter_url)

    place.start()
    assert place.changed == 0, place.said

    (place.home.workspaces / "ana" / "mine").touch()
    place.stop()
    assert place.services() == set()
    (status,) = run.statuses(place.runtime())
    assert status.state == "stopped"
    place.stop()
    assert place.changed == 0, "a second stop does nothing"

    assert place.start() == workspace, "the same addresses and token"
    assert (place.home.workspaces / "ana" / "mine").exists()


def test_new_credentials_are_taken_over(place: Place) -> None:
    place.start()
    place.credentials["KEY"] = Secret("renewed")
    assert environment_of(place.start().jupyter_url)["KEY"] == "renewed"


def test_down_stops_it_and_up_starts_it_again_unless_it_was_stopped(place: Place) -> None:
    ana, bob = place.start("ana"), place.start("bob")
    assert len({ana.jupyter_port, ana.vscode_port, bob.jupyter_port, bob.vscode_port}) == 4
    place.stop("bob")
    assert place.services() == {"jupyterlab-ana", "vscode-ana"}
    place.down()
    assert place.services() == set()
    shutil.rmtree(place.home.envs)
    place.home.envs.mkdir()
    place.up()
    assert place.services() == {"jupyterlab-ana", "vscode-ana"}, "also where its environments had to be made again"


def test_without_vs_code_there_is_jupyterlab(place: Place) -> None:
    place.recipes["code-server"].write_text("echo there is no g++ >&2; exit 1\n")
    place.start()
    assert place.services() == {"jupyterlab-ana"}
    assert "there is no g++" in place.said
    (status,) = run.statuses(place.runtime())
    assert status.state == "running"


def test_one_that_fails_is_told_without_its_secrets_and_nothing_of_it_stays(place: Place) -> None:
    place.write("workspace-jupyter", 'echo "no module named $KEY"; exit 1\n')
    with pytest.raises(PlatformError, match="jupyterlab-ana") as told:
        place.start()
    assert "no module named ********" in told.value.detail
    assert place.services() == set()
    kept = load("ana", place.home)
    assert kept is not None
    assert not kept.on
    place.up()
    assert place.services() == set()


def test_a_port_that_somebody_has_taken_is_left_to_them(place: Place) -> None:
    first = place.start()
    place.stop()
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", first.jupyter_port))
        holder.listen()
        second = place.start()
    assert second.jupyter_port != first.jupyter_port
    assert second.token == first.token


def test_too_few_free_ports_are_told(place: Place) -> None:
    (port,) = free_ports(1)
    place.settings["WORKSPACE_PORTS"] = f"{port}-{port}"
    with pytest.raises(PlatformError, match="WORKSPACE_PORTS"):
        place.start()
    assert load("ana", place.home) is None


def test_a_name_that_is_none_and_a_workspace_that_is_not_there_are_told(place: Place) -> None:
    with pytest.raises(UsageError, match="is no name that every service takes"):
        place.start("../ana")
    place.start("ana")
    with pytest.raises(UsageError, match="no workspace 'bob'") as told:
        place.stop("bob")
    assert "there are: ana" in told.value.do


def test_a_user_that_does_not_exist_is_told_before_anything_is_changed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    place.settings["WORKSPACE_USER"] = "no-such-user"
    with pytest.raises(UsageError, match="no user no-such-user"):
        place.start()
    assert load_all(place.home) == []
