"""Runs `python -m pipelines …` in processes that begin with everything imported.

A step imports for seconds, and these tests run hundreds of steps. So one process (this module as a program) has
imported what steps need, and forks for each: the fork gets the environment, arguments and output of its own that the
command would have, and the same way in and out. The command itself is run by Airflow, and by `platform`.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from tools.scratch import REPO

MODULE = "pipelines"


def run_step(variables: Mapping[str, str], *words: str, seconds: int = 180) -> subprocess.CompletedProcess[str]:
    """What `python -m pipelines WORDS…` does in the checkout, with `variables` as its environment.

    After `seconds` it is ended, and its exit code is that of SIGALRM.
    """
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        job = {"words": words, "variables": dict(variables), "out": str(out), "err": str(err), "seconds": seconds}
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        print(json.dumps(job), file=server.stdin, flush=True)
        code = server.stdout.readline()
        assert code, f"the process that forks steps has ended, with {server.wait()}"
        return subprocess.CompletedProcess([MODULE, *words], int(code), out.read_text(), err.read_text())


@cache
def _server() -> subprocess.Popen[str]:
    """The process that forks; it ends with this one."""
    command = [sys.executable, "-m", "tests.e2e.steps"]
    return subprocess.Popen(command, cwd=REPO, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _serve() -> None:
    """Take jobs from stdin, a line each, and answer each with the exit code of its step."""
    for step, _ in import_module(f"{MODULE}.__main__").STEPS.values():
        import_module(step)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(job: dict[str, Any]) -> NoReturn:
    """Be the step of a job to its end."""
    signal.alarm(job["seconds"])
    for file, descriptor in ((os.devnull, 0), (job["out"], 1), (job["err"], 2)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(job["variables"])
    sys.argv = [MODULE, *job["words"]]
    runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    _serve()
