"""A workspace as a person uses it, in a real browser: what the tests of both runtimes have in common."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

SECONDS = 120
AS_ROOT = os.geteuid() == 0
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
# tall, since JupyterLab renders only the cells that are in sight
SIZE = {"width": 1400, "height": 2600}
SCREEN = {"width": 1400, "height": 900}

needs_browser = pytest.mark.skipif(
    CHROMIUM is None,
    reason="a browser is a package of the system: `make test` installs Debian's as root or by sudo, and could not here "
    "(apt-get install chromium)",
)

RAW = """\
import os, pandas as pd
warehouse = os.environ["WAREHOUSE_URL"]
raw = "FROM information_schema.tables WHERE table_schema = 'raw' AND left(table_name, 1) <> '_'"
table, = pd.read_sql(f"SELECT min(table_name) {raw}", warehouse).iloc[0]
rows, = pd.read_sql(f'SELECT count(*) FROM raw."{table}"', warehouse).iloc[0]
print(f"raw.{table} has {rows} rows")"""
WRITE = """\
import psycopg
for statement in (f'DELETE FROM raw."{table}"', "CREATE TABLE marts.own (a int)", "CREATE TABLE own (a int)"):
    try:
        with psycopg.connect(os.environ["WAREHOUSE_URL"]) as warehouse:
            warehouse.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        print(f"refused: {statement}")"""


@dataclass(frozen=True)
class Workspace:
    """A workspace that runs: the addresses of its JupyterLab and its VS Code, what signs in to them (empty where a
    proxy has done that), and how to read a file of its home (None: there is none)."""

    jupyterlab: str
    vscode: str
    token: str
    read: Callable[[str], str | None]

    def page_of(self, notebook: str, layout: str = "default") -> str:
        """A notebook's page, with nothing else open; each browser keeps a layout of its own."""
        return f"{self.jupyterlab}/lab/workspaces/{layout}/tree/{notebook}?reset&token={self.token}"

    def put_notebook(self, name: str, *cells: dict[str, Any]) -> None:
        """Write a notebook into the home."""
        kernel = {"name": "python3", "display_name": "Python 3"}
        content = {"cells": list(cells), "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
        with httpx.Client(base_url=self.jupyterlab, params={"token": self.token}, timeout=30) as client:
            client.get("/lab").raise_for_status()
            headers = {"X-XSRFToken": client.cookies["_xsrf"]}
            made = client.put(f"/api/contents/{name}", json={"type": "notebook", "content": content}, headers=headers)
        assert made.status_code == 201, made.text


def code(identity: str, source: str) -> dict[str, Any]:
    """A cell of a notebook that has not run."""
    return {
        "cell_type": "code", "id": identity, "metadata": {}, "source": source, "execution_count": None, "outputs": []
    }  # fmt: skip


@contextmanager
def open_browser() -> Iterator[Callable[[str], Page]]:
    """Chromium; what it yields opens an address as somebody with a browser of their own."""
    expect.set_options(timeout=SECONDS * 1000)
    with sync_playwright() as playwright:
        # Chromium's own sandbox refuses root
        sandbox = ["--no-sandbox"] if AS_ROOT else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)

        def visit(url: str) -> Page:
            context = browser.new_context(viewport=SIZE)
            context.set_default_timeout(SECONDS * 1000)
            page = context.new_page()
            page.goto(url)
            return page

        yield visit
        browser.close()


def run_all(page: Page) -> Locator:
    """Run the notebook that is open, from its first cell to its last, by the menu; its outputs."""
    expect(page.get_by_text("Python 3 | Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return page.locator(".jp-Notebook .jp-OutputArea-output")


def use_welcome(page: Page, shot: Path) -> str:
    """Run the welcome notebook: it logs a run, shows a mart, and asks for a prediction. Returns the run's id."""
    outputs = run_all(page)
    expect(outputs.filter(has_text="MLflow has run")).to_be_visible()
    said = re.search(r"MLflow has run (\w+)", outputs.filter(has_text="MLflow has run").inner_text())
    assert said is not None
    expect(outputs.filter(has_text="marts.").first).to_be_visible()
    expect(outputs.locator("table").nth(1).locator("tbody tr")).to_have_count(5)
    expect(outputs.filter(has_text="prediction_id")).to_be_visible()
    assert outputs.filter(has_text="Error").count() == 0
    page.screenshot(path=shot)
    return said[1]


def assert_logged(run_id: str, mlflow: dict[str, str], person: str) -> None:
    """A run is in MLflow, as the welcome notebook has logged it, in the person's experiment.

    Args:
        mlflow: url, username and password of an account that may see it.
    """
    account = (mlflow["username"], mlflow["password"])
    with httpx.Client(base_url=f"{mlflow['url']}/api/2.0/mlflow", auth=account, timeout=30) as client:
        run = client.get("/runs/get", params={"run_id": run_id}).raise_for_status().json()["run"]
        experiment = client.get("/experiments/get", params={"experiment_id": run["info"]["experiment_id"]})
    assert (run["info"]["run_name"], run["data"]["metrics"][0]["value"]) == ("welcome", 42)
    assert experiment.raise_for_status().json()["experiment"]["name"] == f"users/{person}"


def use_the_warehouse(workspace: Workspace, visit: Callable[[str], Page], shot: Path) -> None:
    """A notebook reads `raw` with the person's role, and every write is refused."""
    workspace.put_notebook("warehouse.ipynb", code("raw", RAW), code("write", WRITE))
    page = visit(workspace.page_of("warehouse.ipynb", "warehouse"))
    outputs = run_all(page)
    expect(outputs.first).to_have_text(re.compile(r"raw\.\w+ has [1-9]\d* rows"))
    expect(outputs.nth(1)).to_contain_text("refused: CREATE TABLE own")
    assert outputs.nth(1).inner_text().count("refused:") == 3
    page.set_viewport_size(SCREEN)
    page.screenshot(path=shot)


def use_vs_code(workspace: Workspace, visit: Callable[[str], Page], shot: Path) -> None:
    """VS Code opens on the home, and its terminal knows the person's credentials."""
    page = visit(workspace.vscode)
    page.set_viewport_size(SCREEN)
    if workspace.token:
        page.locator("input[name=password]").fill(workspace.token)
        page.locator("input[type=submit]").click()
    expect(page.locator(".monaco-workbench")).to_be_visible()
    expect(page.locator(".explorer-folders-view").get_by_text("welcome.ipynb")).to_be_visible()
    page.keyboard.press("Control+`")
    terminal = page.locator(".xterm-helper-textarea")

    def shell_answers() -> bool:
        terminal.press_sequentially("touch ready\n")
        page.wait_for_timeout(1000)
        return workspace.read("ready") is not None

    # what is typed before the shell is there is lost
    await_true(shell_answers, "the terminal's shell answers")
    terminal.press_sequentially("python -c \"import os; print(os.environ['WAREHOUSE_URL'])\" > new; mv new said\n")
    await_true(lambda: workspace.read("said") is not None, "the terminal's command is run")
    assert (workspace.read("said") or "").startswith("postgresql://")
    page.screenshot(path=shot)


def await_true(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is the case; fail if it is not within SECONDS."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether an address answers with 200."""
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
