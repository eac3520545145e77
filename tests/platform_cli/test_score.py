from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from platform_cli.commands import score
from platform_cli.main import app
from platform_cli.runtime import Program


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the command becomes: program, arguments, environment; FILES are those that the step is to see."""
    found: list[tuple[Any, ...]] = []

    def step(*, keep: Iterable[str], files: Collection[Path]) -> Program:
        own = {name: os.environ[name] for name in keep if name in os.environ}
        return Program(("python", "-m", "pipelines"), {"FILES": " ".join(map(str, files)), **own})

    monkeypatch.setattr(score, "open_running", lambda: SimpleNamespace(step=step))
    monkeypatch.setattr(os, "execvpe", lambda *call: found.append(call))
    return found


def test_scoring_is_the_step_with_what_was_given(
    started: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    words = ["shop", "--from", "new.csv", "--to", "scores.shop"]
    assert CliRunner().invoke(app, ["score", *words]).exit_code == 0
    given = ["--version", "3", "--alias", "canary", "--engine", "spark"]
    assert CliRunner().invoke(app, ["score", *words, *given]).exit_code == 0
    command = ["python", "-m", "pipelines", "score", *words]
    assert started == [("python", command, {"FILES": "new.csv"}), ("python", [*command, *given], {"FILES": "new.csv"})]


def test_the_step_is_told_which_java_the_shell_names(
    started: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/opt/java")
    CliRunner().invoke(app, ["score", "shop", "--from", "a.b", "--to", "a.c"])
    assert started[0][2] == {"FILES": "", "JAVA_HOME": "/opt/java"}
