"""`platform new`, `check` and `test` as programs of the steps' environment, and what CI does with them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from platform_cli.commands import authoring, run
from platform_cli.local.environments import Environment
from platform_cli.main import app
from platform_cli.runtime import Program
from tools.changed_projects import concerned

REPO = Path(__file__).resolve().parents[2]
WORKFLOW = REPO / ".github/workflows/projects.yml"
Call = Callable[..., tuple[str, list[str], dict[str, str]]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """What the command would become: which of the two ways, its words after the module, its variables."""
    became: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setenv("PLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(run.os, "execvpe", lambda _, words, variables: became.append((words, variables)))
    monkeypatch.setattr(Environment, "whole", lambda _: True)

    def step(module: str, files: Collection[Path]) -> Program:
        return Program(("/envs/python", "-m", module), {"WAREHOUSE_URL": "x", "FILES": " ".join(map(str, files))})

    monkeypatch.setattr(authoring, "open_running", lambda: SimpleNamespace(step=step))

    def call_it(*words: str) -> tuple[str, list[str], dict[str, str]]:
        became.clear()
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == 0, result.output
        ((command, variables),) = became
        assert command[1:3] == ["-m", "pipelines.authoring"]
        return "stack" if "WAREHOUSE_URL" in variables else "offline", command[3:], variables

    return call_it


def test_check_needs_no_stack(call: Call) -> None:
    way, words, variables = call("check")
    assert (way, words) == ("offline", ["check"])
    assert variables["PLATFORM_REPO"] == str(REPO)
    assert variables["ENVS_DIR"].endswith("home/envs")
    assert call("check", "churn", "--json")[1] == ["check", "--json", "--", "churn"]


@pytest.mark.parametrize(
    ("words", "way"),
    [
        (["new", "churn"], "offline"),
        (["new", "churn", "--from", "customers.csv"], "offline"),
        (["new", "churn", "--from", "crm.customers"], "stack"),
    ],
)
def test_new_needs_the_warehouse_for_a_table_only(call: Call, words: list[str], way: str) -> None:
    found, arguments, variables = call(*words)
    assert (found, arguments[0], arguments[-2:]) == (way, "new", ["--", "churn"])
    assert way == "offline" or variables["FILES"] == str(REPO / "projects")


def test_new_passes_on_what_is_said_of_the_columns(call: Call) -> None:
    _, words, _ = call(
        "new", "churn", "--from", "a.b", "--task", "regression", "--key", "k", "--event-time", "t", "--target", "y"
    )
    assert words[1:-2] == [
        "--from", "a.b", "--task", "regression", "--key", "k", "--event-time", "t", "--target", "y",
    ]  # fmt: skip


def test_test_runs_on_the_stack(call: Call) -> None:
    assert call("test", "churn", "--share", "0.2")[:2] == ("stack", ["test", "--share", "0.2", "--", "churn"])


def test_without_the_environment_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PLATFORM_HOME", str(tmp_path / "home"))
    result = CliRunner().invoke(app, ["check"])
    assert "not installed" in str(result.exception)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ([], []),
        (["projects/churn/train.py"], ["churn"]),
        (["dbt_project/models/churn/marts/marts.yml", "airbyte/connections/flights.yaml"], ["churn", "flights"]),
        (["dbt_project/tests/flights/no_leakage.sql"], ["flights"]),
        (["docs/operating.md", "README.md"], []),
        (["dbt_project/macros/source.sql"], ["churn", "flights"]),
        (["pipelines/gate/evaluate.py", "projects/churn/train.py"], ["churn", "flights"]),
        (["projects/gone/project.yaml"], ["churn", "flights"]),
    ],
)
def test_a_change_concerns_its_project_or_all(changed: list[str], found: list[str]) -> None:
    assert concerned(changed, ["flights", "churn"]) == found


def scripts() -> list[str]:
    """The lines that CI runs."""
    jobs: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return [line for job in jobs.values() for step in job["steps"] for line in step.get("run", "").splitlines()]


def test_ci_calls_commands_that_there_are() -> None:
    calls = [found for line in scripts() if (found := re.search(r"(?:^|\s|/)platform (\w+)(.*)", line))]
    assert {found[1] for found in calls} == {"install", "up", "check", "run", "test", "status", "down"}
    for found in calls:
        words = [word for word in shlex.split(found[2].split("||")[0]) if word.startswith("--") and found[1] != "run"]
        shown = CliRunner().invoke(app, [found[1], "--help"], env={"COLUMNS": "200"}).output
        assert all(word in shown for word in words), f"{found[1]}: {words}"
    names = next(found[2] for found in calls if found[1] == "install").split()
    assert all((REPO / "compose" / name / "requirements.txt").is_file() for name in names)


def test_ci_uses_files_that_there_are() -> None:
    for name in re.findall(r"tools/\w+\.py", WORKFLOW.read_text()):
        assert (REPO / name).is_file()
