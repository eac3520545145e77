"""Programs that a trial starts: none of them, and nothing that they started, outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.errors import StepError

GRACE_SECONDS = 10.0


def run_whole(command: list[str], variables: Mapping[str, str], directory: str, seconds: float) -> tuple[int, str, str]:
    """Run `command` for at most `seconds`: its exit code, what it printed, and what it said on stderr.

    It has a session of its own, so that whatever ends this call, Ctrl-C among it, ends all that it started.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with _signals_later():
            process = subprocess.Popen(
                command,
                env=dict(variables),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise StepError(f"it did not end within {seconds:.0f} s", do="make it faster, or its sample smaller") from None
    finally:
        if process is not None:
            _end(process)
    return process.returncode, output, errors


@contextmanager
def _signals_later() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait until the block has ended: a process that is being started would be lost to them."""
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for waiting in came:
            signal.raise_signal(waiting)


def _end(process: subprocess.Popen[str]) -> None:
    """End what is left of the session that `process` leads."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def end_programs(directory: Path) -> None:
    """End what runs of a trial that was killed itself: its steps have sessions of their own, and start dbt. They are
    known by the checkout below `directory` that they were given."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (running := list(_programs(directory))) and time.monotonic() < deadline:
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _programs(directory: Path) -> Iterator[int]:
    mark = f"PLATFORM_REPO={directory}/".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        # of somebody else, or gone meanwhile
        with suppress(OSError):
            if mark in (entry / "environ").read_bytes():
                yield int(entry.name)
