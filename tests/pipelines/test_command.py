from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from pipelines import __main__ as command
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.lineage.record import Outcome

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch, repo: Path, variables: dict[str, str]) -> ModuleType:
    """Let the step `replay` be a module whose `run` the test gives."""
    for name, value in (variables | {"PLATFORM_REPO": str(repo)}).items():
        monkeypatch.setenv(name, value)
    module = ModuleType("stand_in")
    monkeypatch.setitem(sys.modules, "stand_in", module)
    monkeypatch.setitem(command.STEPS, "replay", ("stand_in", ""))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return module


def call(*arguments: str) -> Result:
    return CliRunner().invoke(command.cli, arguments)


def test_the_result_is_the_last_line_of_stdout(step: ModuleType) -> None:
    def run(env: Environment, project: Any, month: int, rows: int, part: tuple[int, int, int]) -> dict[str, Any]:
        print("noise of a library")
        return {"project": project.name, "month": month, "rows": rows, "part": part}

    step.run = run  # type: ignore[attr-defined]
    done = call("replay", "shop", "--month", "7", "--part", "2/10")
    assert done.exit_code == 0
    result = json.loads(done.stdout.splitlines()[-1])
    assert result.pop("seconds") >= 0
    assert result == {"project": "shop", "month": 7, "rows": 3000, "part": [2, 2, 10]}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("replay", "shop", "--month", "7", "--part", "3/2"), "'3/2' is not a part"),
        (("replay", "shop", "--month", "7", "--part", "3-2/4"), "'3-2/4' is not a part"),
        (("replay", "shop", "--month", "7", "--part", "half"), "'half' is not a part"),
        (("due", "shop", "--findings", "[1]"), "'[1]' is not an object in JSON"),
        (("due", "shop", "--findings", "{"), "'{' is not an object in JSON"),
        (("decide", "shop", "--trigger", "whim"), "'whim' is not one of"),
    ],
)
def test_an_option_that_cannot_be_read_is_a_wrong_call(words: tuple[str, ...], told: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert told in done.stderr


@pytest.mark.parametrize("error", [StepError("it rains", where="here", do="take an umbrella"), ValueError("odd")])
def test_a_failure_is_one_message_and_exit_1(step: ModuleType, error: Exception) -> None:
    def run(*_: Any, **__: Any) -> dict[str, Any]:
        raise error

    step.run = run  # type: ignore[attr-defined]
    done = call("replay", "shop", "--month", "7")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert ("here: it rains\n  → take an umbrella" in done.stderr) or ("ValueError: odd" in done.stderr)
    assert "Traceback" not in done.stderr


def test_a_step_that_skips_prints_its_result_and_exits_99(step: ModuleType) -> None:
    step.run = lambda *_, **__: {"skip": True, "reason": "nothing is new"}  # type: ignore[attr-defined]
    done = call("replay", "shop", "--month", "7")
    assert done.exit_code == 99
    assert json.loads(done.stdout.splitlines()[-1])["reason"] == "nothing is new"


def test_a_step_that_cannot_be_recorded_is_done_all_the_same(step: ModuleType) -> None:
    step.run = lambda *_, **__: {"rows": 3}  # type: ignore[attr-defined]
    done = call("replay", "shop", "--month", "7")
    assert done.exit_code == 0
    assert "warning: not recorded: lineage.steps: PostgreSQL 127.0.0.1:9" in done.stderr


def test_a_result_that_is_no_json_fails_the_step_and_is_recorded_so(
    step: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[str] = []

    @contextmanager
    def record(*_: Any) -> Iterator[Outcome]:
        try:
            yield Outcome()
        except ValueError:
            recorded.append("failed")
            raise

    monkeypatch.setattr(command, "recorded", record)
    step.run = lambda *_, **__: {"share": float("nan")}  # type: ignore[attr-defined]
    done = call("replay", "shop", "--month", "7")
    assert (done.exit_code, done.stdout, recorded) == (1, "", ["failed"])
    assert "not JSON compliant" in done.stderr


def test_debug_shows_the_traceback(step: ModuleType) -> None:
    def run(*_: Any, **__: Any) -> dict[str, Any]:
        raise StepError("it rains")

    step.run = run  # type: ignore[attr-defined]
    assert "Traceback" in call("replay", "shop", "--month", "7", "--debug").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("bake", "shop"),
        ("replay",),
        ("replay", "shop"),
        ("replay", "shop", "--month", "13"),
        ("replay", "shop", "--month", "7", "--rows", "0"),
        ("land", "shop", "--months", "0-3"),
        ("land", "shop", "--months", "3-1"),
        ("land", "shop", "--months", "june"),
        ("train", "shop", "--month", "7"),
    ],
)
def test_a_wrong_call_exits_2(arguments: tuple[str, ...]) -> None:
    done = call(*arguments)
    assert done.exit_code == 2
    assert "Error" in done.stderr


@pytest.mark.parametrize(("text", "months"), [("7", [7]), ("1-3", [1, 2, 3]), ("1,5-6", [1, 5, 6]), ("2,1,2", [1, 2])])
def test_months(text: str, months: list[int]) -> None:
    assert command.Months().convert(text, None, None) == months


def test_help_does_not_import_the_steps() -> None:
    program = (
        "import sys, pipelines.__main__; heavy = {'pandas', 'sklearn', 'mlflow', 'evidently'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_its_environment_a_step_says_what_is_missing() -> None:
    bare = {name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH", "HOME"}}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "train", "flight_delay"],
        cwd=REPO,
        env=bare,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "not set: PLATFORM_REPO, ENVS_DIR" in done.stderr


def test_a_moment_needs_its_offset() -> None:
    assert command.Moment().convert("2013-07-01T05:00:00+00:00", None, None).isoformat() == "2013-07-01T05:00:00+00:00"
    for wrong in ("yesterday", "2013-07-01T05:00:00"):
        with pytest.raises(click.BadParameter, match="is not a moment"):
            command.Moment().convert(wrong, None, None)
