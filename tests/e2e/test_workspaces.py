"""Workspaces on a real stack, used in a real browser: the welcome notebook, VS Code, two people in one notebook."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import mlflow
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.e2e.conftest import ENVS
from tests.e2e.shop import open_shop
from tools.scratch import REPO, Stack, free_ports

SECONDS = 120
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
AS_ROOT = os.geteuid() == 0
SOMEBODY = "nobody"
KERNEL = {"name": "python3", "display_name": "Python 3"}

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")


@dataclass(frozen=True)
class Workspace:
    """A workspace that runs: the address of its JupyterLab and its VS Code, what signs in to them, and its home."""

    jupyterlab: str
    vscode: str
    token: str
    home: Path

    def page_of(self, notebook: str, layout: str = "default") -> str:
        """A notebook's page, with nothing else open; each browser keeps a layout of its own."""
        return f"{self.jupyterlab}/lab/workspaces/{layout}/tree/{notebook}?reset&token={self.token}"


@pytest.fixture(scope="module", autouse=True)
def shop(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A model that is served and a mart, so that there is something to see whatever ran before."""
    with open_shop(tmp_path_factory.mktemp("workspaces"), stack.env) as opened:
        opened.await_served(opened.release()["version"])
        opened.sql("CREATE SCHEMA {name}_marts; CREATE TABLE {name}_marts.orders AS SELECT * FROM {name}.orders")
        yield
        opened.sql("DROP SCHEMA {name}_marts CASCADE")


@pytest.fixture(scope="module")
def ana(stack: Stack) -> Iterator[Workspace]:
    """The workspace of ana."""
    stack.platform("workspace", "start", "ana", check=True)
    (entry,) = json.loads(stack.platform("workspace", "list", "--json", check=True).stdout)
    assert (entry["name"], entry["state"]) == ("ana", "running")
    token = stack.credentials("jupyterlab-ana")["token"]
    yield Workspace(entry["jupyterlab"], entry["vscode"], token, Path(entry["home"]))
    stack.platform("workspace", "stop", "ana", check=True)
    assert {service for service in stack.status() if service.endswith("-ana")} == set()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses root
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if AS_ROOT else [])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Open an address as somebody with a browser of their own."""
    contexts = []

    def open_page(url: str) -> Page:
        # tall, since JupyterLab renders only the cells that are in sight
        context = browser.new_context(viewport={"width": 1400, "height": 2600})
        context.set_default_timeout(SECONDS * 1000)
        contexts.append(context)
        page = context.new_page()
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()


def run_all(page: Page) -> Locator:
    """Run the notebook that is open, from its first cell to its last, by the menu; its outputs."""
    expect(page.get_by_text("Python 3 | Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return page.locator(".jp-Notebook .jp-OutputArea-output")


def assert_welcomed(page: Page, stack: Stack) -> None:
    """Run the welcome notebook, and see in the page and in MLflow that its cells did what they say."""
    outputs = run_all(page)
    expect(outputs.filter(has_text="MLflow has run")).to_be_visible()
    said = re.search(r"MLflow has run (\w+)", outputs.filter(has_text="MLflow has run").inner_text())
    assert said is not None
    run = mlflow.MlflowClient(stack.env["MLFLOW_TRACKING_URI"]).get_run(said[1])
    assert (run.info.run_name, run.data.metrics) == ("welcome", {"answer": 42.0})
    expect(outputs.filter(has_text="_marts").first).to_be_visible()
    expect(outputs.locator("table").nth(1).locator("tbody tr")).to_have_count(5)
    expect(outputs.filter(has_text="prediction_id")).to_be_visible()
    assert outputs.filter(has_text="Error").count() == 0


@needs_browser
def test_the_first_notebook_works_with_nothing_to_configure(
    ana: Workspace, stack: Stack, visit: Callable[[str], Page]
) -> None:
    assert_welcomed(visit(ana.page_of("welcome.ipynb")), stack)


@needs_browser
def test_two_people_in_one_notebook_see_each_others_edits(ana: Workspace, visit: Callable[[str], Page]) -> None:
    cell = {"cell_type": "markdown", "id": "first", "metadata": {}, "source": ""}
    notebook = {"cells": [cell], "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}
    body = {"type": "notebook", "content": notebook}
    headers = {"Authorization": f"token {ana.token}"}
    made = httpx.put(f"{ana.jupyterlab}/api/contents/together.ipynb", json=body, headers=headers, timeout=30)
    assert made.status_code == 201, made.text
    pages = [visit(ana.page_of("together.ipynb", layout)) for layout in ("one", "other")]
    editors = [page.locator(".jp-Notebook .cm-content").first for page in pages]
    for writer, reader, word in ((*editors, "from the one"), (*reversed(editors), "from the other")):
        writer.click()
        writer.press_sequentially(f" {word} ")
        expect(reader).to_contain_text(word)
    expect(editors[0]).to_contain_text("from the one")


@needs_browser
def test_vs_code_opens_the_home_and_its_terminal_knows_the_platform(
    ana: Workspace, visit: Callable[[str], Page]
) -> None:
    page = visit(ana.vscode)
    page.locator("input[name=password]").fill(ana.token)
    page.locator("input[type=submit]").click()
    expect(page.locator(".monaco-workbench")).to_be_visible()
    expect(page.locator(".explorer-folders-view").get_by_text("welcome.ipynb")).to_be_visible()
    page.keyboard.press("Control+`")
    terminal = page.locator(".xterm-helper-textarea")
    expect(terminal).to_be_focused()
    said = ana.home / "said"
    terminal.press_sequentially("python -c \"import mlflow, os; print(os.environ['WAREHOUSE_URL'])\" > ~/said.new\n")
    terminal.press_sequentially("mv ~/said.new ~/said\n")
    await_true(said.exists, "the terminal's commands are run")
    assert said.read_text().startswith("postgresql://")
    # without its native part, VS Code writes no logs, and shows no output of extensions
    assert any(file.stat().st_size for file in ana.home.glob(".local/share/code-server/logs/**/remoteagent.log"))


def await_true(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_nobody_gets_in_without_the_token(ana: Workspace) -> None:
    for url in (f"{ana.jupyterlab}/lab", f"{ana.jupyterlab}/api/contents", f"{ana.vscode}/"):
        answer = httpx.get(url, timeout=30)
        assert answer.status_code == 403 or "login" in answer.headers["location"], (url, answer.status_code)
    wrong = httpx.get(f"{ana.jupyterlab}/api/contents?token=wrong", timeout=30)
    assert wrong.status_code == 403
    refused = httpx.post(f"{ana.vscode}/login", data={"password": "wrong"}, timeout=30)
    assert "Incorrect password" in refused.text


def test_its_programs_see_the_persons_credentials_and_none_of_the_stacks(ana: Workspace, stack: Stack) -> None:
    """The credentials are still those of the steps; all other secrets of the stack are out of sight."""
    lines = (stack.home / "secrets.env").read_text().splitlines()
    secrets = {line.partition("=")[2] for line in lines if not line.startswith("#")}
    given = {stack.env[name] for name in ("MLFLOW_TRACKING_PASSWORD", "SERVING_API_KEY")}
    status = stack.status()
    for service in ("jupyterlab-ana", "vscode-ana"):
        pid = status[service]["pid"]
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        values = {entry.partition("=")[2] for entry in environment}
        assert values & secrets == given
        if AS_ROOT:
            assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam(SOMEBODY).pw_uid
            assert (stack.home / "secrets.env").stat().st_uid == 0


# -- as Coder's agent starts it ---------------------------------------------------------------------------------------

PREFIX = "/@ana/work/apps/jupyter"
VARIABLES = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "WAREHOUSE_URL",
    "SERVING_URL",
    "SERVING_API_KEY",
)


@contextmanager
def agent(stack: Stack, **variables: str) -> Iterator[Workspace]:
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
            yield Workspace(f"http://127.0.0.1:{jupyter_port}{PREFIX}", f"http://127.0.0.1:{vscode_port}", "", home)
        finally:
            os.killpg(run.pid, signal.SIGTERM)
            shutil.rmtree(root)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@needs_browser
def test_what_coders_agent_starts_is_the_same(stack: Stack, visit: Callable[[str], Page]) -> None:
    """Credentials come as the template's parameter; the proxy before the apps has asked who it is."""
    credentials = json.dumps({name: stack.env[name] for name in VARIABLES})
    uri = stack.env["MLFLOW_TRACKING_URI"]
    with agent(stack, PLATFORM_CREDENTIALS=credentials, MLFLOW_TRACKING_URI=uri) as started:
        await_true(lambda: answers(f"{started.jupyterlab}/api"), "JupyterLab answers below its prefix")
        await_true(lambda: answers(f"{started.vscode}/healthz"), "VS Code answers")
        proxied = httpx.get(f"{started.jupyterlab}/api/status", headers={"Host": "coder.example.com"}, timeout=30)
        assert proxied.status_code == 200, "the proxy's name is let in"
        assert not answers(started.jupyterlab.removesuffix(PREFIX) + "/api"), "and nowhere else"
        assert_welcomed(visit(started.page_of("welcome.ipynb")), stack)
        expect(visit(started.vscode).locator(".monaco-workbench")).to_be_visible()
