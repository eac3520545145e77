"""The programs that a trial starts end with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.authoring.process import end_programs, run_whole
from pipelines.errors import StepError

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where these tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_what_a_program_prints_and_its_exit_code_are_returned(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"]
    assert run_whole(words, os.environ, str(tmp_path), 60) == (3, "out\n", "err\n")


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="did not end within 0 s"):
        run_whole(SLEEPS, os.environ, str(tmp_path), 0.1)


def test_a_ctrl_c_while_a_program_is_being_started_ends_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[Any]] = []

    class Interrupted(subprocess.Popen[Any]):
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_whole(SLEEPS, os.environ, str(tmp_path), 60)
    assert [process.returncode for process in started] == [-signal.SIGTERM]


def test_what_runs_of_a_killed_trial_is_ended_and_nothing_else(tmp_path: Path) -> None:
    checkouts = [tmp_path / name / "checkout" for name in ("killed", "killed-too", "another")]
    started = [
        subprocess.Popen(SLEEPS, env=os.environ | {"PLATFORM_REPO": str(checkout)}, start_new_session=True)
        for checkout in checkouts
    ]
    try:
        end_programs(tmp_path / "killed")
        assert started[0].wait(10) == -signal.SIGKILL
        assert [process.poll() for process in started[1:]] == [None, None]
    finally:
        for process in started:
            process.kill()
            process.wait()
