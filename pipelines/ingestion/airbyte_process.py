"""Starts PyAirbyte in its own environment for one job, passes its progress on and its outcome back."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.progress import say

RUNNER = Path(__file__).with_name("airbyte_runner")
PROGRESS = "PROGRESS "
_QUIET = {"AIRBYTE_OFFLINE_MODE": "1", "DO_NOT_TRACK": "1", "NO_LIVE_PROGRESS": "1", "PYTHONWARNINGS": "ignore"}


def run_airbyte(env: Environment, job: dict[str, Any], scratch: Path) -> dict[str, dict[str, int]]:
    """Run `job`; ``{stream: {"read": rows, "repeated": rows}}``. What fails inside is one StepError."""
    python = env.envs_dir / "airbyte" / "bin" / "python"
    for needed in (python, Path(job["connector"]["python"])):
        if not needed.exists():
            raise StepError("not installed", where=str(needed), do="run `platform up`, then start again")
    # The connector's environment must not see this repository: its directory `airbyte` is not the package.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [str(python), str(RUNNER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**variables, **_QUIET, "AIRBYTE_LOGGING_ROOT": str(scratch / "logs")},
        cwd=scratch,
    )
    messages: list[str] = []
    listener = threading.Thread(target=_listen, args=(process.stderr, messages), daemon=True)
    listener.start()
    try:
        output = _talk(process, json.dumps(job))
        process.wait()
    finally:
        process.kill()
        process.wait()
        listener.join(timeout=5)
    return _streams(output, process.returncode, messages, job["name"])


def _talk(process: subprocess.Popen[str], job: str) -> str:
    """Hand the job over and wait for the end; what was written to stdout."""
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("PyAirbyte was started without pipes")
    # Its stdin stays open: if this process is killed, it ends, and PyAirbyte takes that as the sign to stop.
    with suppress(BrokenPipeError):  # It died at once; its messages say why.
        process.stdin.write(f"{job}\n")
        process.stdin.flush()
    return process.stdout.read()


def _listen(lines: Iterable[str], messages: list[str]) -> None:
    for line in lines:
        if line.startswith(PROGRESS):
            say(f"  {line.removeprefix(PROGRESS).rstrip()}")
        elif line.strip():
            messages.append(line.strip())


def _streams(output: str, code: int, messages: list[str], name: str) -> dict[str, dict[str, int]]:
    """The outcome in the last line of `output`; without one, what was said last is the reason."""
    try:
        result: dict[str, Any] = json.loads(output.strip().rpartition("\n")[2])
    except ValueError:
        result = {"error": f"PyAirbyte ended with code {code}: {' '.join(messages[-3:]) or 'it said nothing'}"}
    if "error" in result:
        raise StepError(
            f"the sync failed: {result['error']}",
            where=f"airbyte/connections/{name}.yaml",
            do="correct the cause and start again: rows that were merged stay, the rest is read again",
        )
    streams: dict[str, dict[str, int]] = result["streams"]
    return streams
