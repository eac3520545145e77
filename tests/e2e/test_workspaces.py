"""Workspaces on a real stack, used in a real browser: the welcome notebook, the warehouse, VS Code, two people in one
notebook; and what is left of it when the person is disabled."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ENVS
from tests.workspace_browser import (
    AS_ROOT,
    SECONDS,
    Workspace,
    answers,
    assert_logged,
    await_true,
    needs_browser,
    open_browser,
    use_the_warehouse,
    use_vs_code,
    use_welcome,
)
from tools.scratch import REPO, Stack, free_ports, processes_with

pytestmark = pytest.mark.airflow

SOMEBODY = "nobody"
Visit = Callable[[str], Page]


@dataclass(frozen=True)
class Person:
    """Somebody with a workspace that runs, and what their programs are given."""

    name: str
    workspace: Workspace
    programs: dict[str, str]


def read_in(home: Path) -> Callable[[str], str | None]:
    """Reads files of a home."""
    return lambda name: (home / name).read_text() if (home / name).exists() else None


@pytest.fixture(scope="module")
def ana(stack: Stack, demo: subprocess.CompletedProcess[str]) -> Iterator[Person]:
    """A scientist, and her workspace."""
    name = f"ana-{uuid4().hex[:6]}"
    stack.platform("users", "add", name, "--role", "scientist", check=True)
    stack.platform("workspace", "start", name, check=True)
    (entry,) = json.loads(stack.platform("workspace", "list", "--json", check=True).stdout)
    assert (entry["name"], entry["state"]) == (name, "running")
    token = stack.credentials(f"jupyterlab-{name}")["token"]
    programs = json.loads(stack.platform("users", "env", name, "--json", check=True).stdout)
    yield Person(name, Workspace(entry["jupyterlab"], entry["vscode"], token, read_in(Path(entry["home"]))), programs)
    stack.platform("users", "disable", name, check=True)
    stack.platform("workspace", "stop", name, check=True)


@pytest.fixture(scope="module")
def visit() -> Iterator[Visit]:
    with open_browser() as opened:
        yield opened


@needs_browser
def test_the_first_notebook_works_with_nothing_to_configure(
    ana: Person, stack: Stack, visit: Visit, tmp_path: Path
) -> None:
    run_id = use_welcome(visit(ana.workspace.page_of("welcome.ipynb")), tmp_path / "jupyterlab.png")
    assert_logged(run_id, stack.credentials("mlflow"), ana.name)


@needs_browser
def test_the_warehouse_is_read_and_not_written(ana: Person, visit: Visit, tmp_path: Path) -> None:
    use_the_warehouse(ana.workspace, visit, tmp_path / "warehouse.png")


@needs_browser
def test_two_people_in_one_notebook_see_each_others_edits(ana: Person, visit: Visit) -> None:
    # shown as it is written, unlike Markdown
    cell = {"cell_type": "raw", "id": "first", "metadata": {}, "source": ""}
    ana.workspace.put_notebook("together.ipynb", cell)
    pages = [visit(ana.workspace.page_of("together.ipynb", layout)) for layout in ("one", "other")]
    editors = [page.locator(".jp-Notebook .cm-content").first for page in pages]
    for writer, reader, word in ((*editors, "from the one"), (*reversed(editors), "from the other")):
        writer.click()
        writer.press_sequentially(f" {word} ")
        expect(reader).to_contain_text(word)
    expect(editors[0]).to_contain_text("from the one")


@needs_browser
def test_vs_code_opens_the_home_and_its_terminal_knows_the_platform(
    ana: Person, stack: Stack, visit: Visit, tmp_path: Path
) -> None:
    use_vs_code(ana.workspace, visit, tmp_path / "vscode.png")
    # without its native part, VS Code writes no logs, and shows no output of extensions
    home = stack.home / "workspaces" / ana.name
    assert any(file.stat().st_size for file in home.glob(".local/share/code-server/logs/**/remoteagent.log"))


def test_nobody_gets_in_without_the_token(ana: Person) -> None:
    jupyterlab, vscode = ana.workspace.jupyterlab, ana.workspace.vscode
    for url in (f"{jupyterlab}/lab", f"{jupyterlab}/api/contents", f"{vscode}/"):
        answer = httpx.get(url, timeout=30)
        assert answer.status_code == 403 or "login" in answer.headers["location"], (url, answer.status_code)
    assert httpx.get(f"{jupyterlab}/api/contents?token=wrong", timeout=30).status_code == 403
    refused = httpx.post(f"{vscode}/login", data={"password": "wrong"}, timeout=30)
    assert "Incorrect password" in refused.text


def test_its_programs_see_the_persons_credentials_and_none_of_the_stacks(ana: Person, stack: Stack) -> None:
    lines = (stack.home / "secrets.env").read_text().splitlines()
    secrets = {line.partition("=")[2] for line in lines if not line.startswith("#")} - {""}
    status = stack.status()
    for service in (f"jupyterlab-{ana.name}", f"vscode-{ana.name}"):
        pid = status[service]["pid"]
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        given = dict(entry.split("=", 1) for entry in environment if "=" in entry)
        assert not secrets & set(given.values())
        assert ana.programs.items() <= given.items()
        if AS_ROOT:
            assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam(SOMEBODY).pw_uid
            assert (stack.home / "secrets.env").stat().st_uid == 0


# -- as Coder's agent starts it ---------------------------------------------------------------------------------------

PREFIX = "/@ana/work/apps/jupyter"


@contextmanager
def agent(**variables: str) -> Iterator[Workspace]:
    """The template's start script with what the image has, in a home of its own, as a user who is not root."""
    root = Path(tempfile.mkdtemp(prefix="agent-", dir="/var/tmp"))
    root.chmod(0o755)
    home = root / "home"
    home.mkdir()
    for part in ("bin", "home"):
        shutil.copytree(REPO / "compose" / "workspace" / part, root / "workspace" / part)
    if AS_ROOT:
        shutil.chown(home, SOMEBODY)
    jupyter_port, vscode_port = free_ports(2)
    programs = [root / "workspace" / "bin", *(ENVS / name / "bin" for name in ("workspace", "code-server"))]
    environment = {
        "HOME": str(home),
        "PATH": ":".join(map(str, [*programs, "/usr/bin", "/bin"])),
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "JUPYTER_PREFIX": PREFIX,
        "JUPYTER_PORT": str(jupyter_port),
        "VSCODE_PORT": str(vscode_port),
        **variables,
    }
    script = (REPO / "coder_templates" / "data-science" / "startup.sh").read_text()
    as_somebody: dict[str, Any] = {"user": SOMEBODY, "group": "nogroup", "extra_groups": []} if AS_ROOT else {}
    with subprocess.Popen(
        ["sh", "-c", script], env=environment, cwd=home, start_new_session=True, **as_somebody
    ) as run:
        try:
            assert run.wait(SECONDS) == 0
            yield Workspace(
                f"http://127.0.0.1:{jupyter_port}{PREFIX}", f"http://127.0.0.1:{vscode_port}", "", read_in(home)
            )
        finally:
            # JupyterLab may take its time to say goodbye; a container's engine would not wait for it either
            os.killpg(run.pid, signal.SIGKILL)
            await_true(lambda: not processes_with(f"HOME={home}"), "its programs end")
            shutil.rmtree(root)


@needs_browser
def test_what_coders_agent_starts_is_the_same(ana: Person, stack: Stack, visit: Visit, tmp_path: Path) -> None:
    """Credentials come as the template's parameter; the proxy before the apps has asked who it is."""
    with agent(PLATFORM_CREDENTIALS=json.dumps(ana.programs)) as started:
        await_true(lambda: answers(f"{started.jupyterlab}/api"), "JupyterLab answers below its prefix")
        await_true(lambda: answers(f"{started.vscode}/healthz"), "VS Code answers")
        proxied = httpx.get(f"{started.jupyterlab}/api/status", headers={"Host": "coder.example.com"}, timeout=30)
        assert proxied.status_code == 200, "the proxy's name is let in"
        assert not answers(started.jupyterlab.removesuffix(PREFIX) + "/api"), "and nowhere else"
        run_id = use_welcome(visit(started.page_of("welcome.ipynb")), tmp_path / "agent.png")
        assert_logged(run_id, stack.credentials("mlflow"), ana.name)
        expect(visit(started.vscode).locator(".monaco-workbench")).to_be_visible()


# -- the end ----------------------------------------------------------------------------------------------------------


def test_who_is_disabled_has_no_workspace_that_runs(stack: Stack) -> None:
    name = f"ben-{uuid4().hex[:6]}"
    refused = stack.platform("workspace", "start", name)
    assert refused.returncode == 2 and f"nobody named '{name}'" in refused.stderr
    stack.platform("users", "add", name, "--role", "scientist", check=True)
    stack.platform("workspace", "start", name, check=True)
    stack.platform("users", "disable", name, check=True)
    assert not [service for service in stack.status() if service.endswith(f"-{name}")]
    refused = stack.platform("workspace", "start", name)
    assert refused.returncode == 2 and f"{name} is disabled" in refused.stderr
