"""Servers as processes: started in a group of their own with a mark in their environment, gone at the end."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = "BENCHMARK_PROCESS"
_STOP_SECONDS = 10.0
QUIET = {"DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "true"}
QUIET |= {"RAY_USAGE_STATS_ENABLED": "0"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@contextmanager
def process(
    command: Sequence[str], variables: Mapping[str, str], log: Path, directory: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in `directory`; at the end it is stopped, and whatever it has started is killed."""
    mark = secrets.token_hex(8)
    outer = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    with log.open("ab") as out:
        started = subprocess.Popen(
            command,
            cwd=directory,
            env=outer | QUIET | ONE_THREAD | {_MARK: mark} | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        _end(started, mark)


def busy_share(seconds: float = 0.5) -> float:
    """How busy the machine's cores are, 0 to 1, seen over some time."""
    idle_before, all_before = _cpu_times()
    time.sleep(seconds)
    idle, total = _cpu_times()
    return 1 - (idle - idle_before) / max(1, total - all_before)


def _cpu_times() -> tuple[int, int]:
    """Idle and total time of all cores since the start of the machine; see proc(5), /proc/stat."""
    times = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return times[3] + times[4], sum(times)


def _end(started: subprocess.Popen[bytes], mark: str) -> None:
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        started.wait(_STOP_SECONDS)
    # some leave their group, and some leave children behind
    end = time.monotonic() + _STOP_SECONDS
    while (left := _marked(mark)) and time.monotonic() < end:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    started.wait(_STOP_SECONDS)


def _marked(mark: str) -> list[int]:
    entry = f"{_MARK}={mark}".encode()
    found = []
    for directory in Path("/proc").iterdir():
        with suppress(OSError):
            if directory.name.isdecimal() and entry in (directory / "environ").read_bytes().split(b"\0"):
                found.append(int(directory.name))
    return found
