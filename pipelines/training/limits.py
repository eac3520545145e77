"""A training's process, held to the memory, the threads and the time that the declaration allows."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any

import pipelines
from pipelines.errors import StepError
from pipelines.project import Resources, seconds

MODULE = "pipelines.training.worker"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
_MANNERS = {
    # threads that spin while they wait take the processor from those they wait for: on a busy machine, 20 times as long
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc reserves address space for each arena, which would count as memory
    "MALLOC_ARENA_MAX": "2",
}
_PR_SET_PDEATHSIG = 1
_LINUX = sys.platform == "linux"


class RemoteTraceback(Exception):
    """The traceback of the worker's failure, as text: the cause of the StepError that tells it."""


class Worker:
    """A process that runs a project's code. It begins its imports when it is made, works when it gets its job, and is
    gone, with all that it started, when the block ends."""

    def __init__(self, resources: Resources, where: str) -> None:
        self._resources = resources
        self._where = where
        self._late = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(pipelines.__file__).parents[1],
            env=os.environ | thread_variables(resources.threads),
            start_new_session=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()

    def work(self, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Give it its job; what it tells, one object each, until it is done.

        Raises:
            StepError: the project's code failed, ended the process, or exceeded its memory or its time.
        """
        timer = Timer(seconds(self._resources.timeout), self._stop_late)
        timer.daemon = True
        timer.start()
        try:
            yield from self._messages(job)
        finally:
            timer.cancel()

    def _messages(self, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the worker has no pipes")
        with suppress(BrokenPipeError):  # it is dead already: the end of its messages tells why
            stdin.write(f"{json.dumps(job)}\n")
            stdin.close()
        for line in stdout:
            message: dict[str, Any] = json.loads(line)
            if "failure" in message:
                failure = message["failure"]
                cause = RemoteTraceback(f"\n{failure.pop('traceback')}")
                raise StepError(**failure) from cause
            yield message
            if "done" in message:
                return
        raise self._ended(self._process.wait())

    def _stop_late(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _ended(self, code: int) -> StepError:
        """What to say when it ended before it was done."""
        if self._late:
            return StepError(
                f"the training took longer than the {self._resources.timeout} that it may",
                where=self._where,
                do="make it smaller, or raise training.resources.timeout",
            )
        if code < 0:
            name = signal.Signals(-code).name
            return StepError(
                f"the training's process was ended by {name}: it crashed, or needs more than the "
                f"{self._resources.memory_mb} MB of memory that it may use",
                where=self._where,
                do="raise training.resources.memory_mb, or train on fewer rows (training.history)",
            )
        return StepError(
            f"the training's process ended by itself with exit code {code}",
            where=self._where,
            do="the project's code must return, not exit",
        )


def thread_variables(threads: int) -> dict[str, str]:
    """The variables that hold the numerical libraries of a process to `threads` threads each."""
    return dict.fromkeys(_THREADS, str(threads)) | _MANNERS


def die_with_parent() -> None:
    """Let the kernel end this process when its parent ends, however that happens (Linux only)."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def bounded_memory(megabytes: int) -> Iterator[None]:
    """Let the block reserve at most `megabytes` (of 2**20 bytes) on top of what the process has (Linux only).

    Beyond that, Python and NumPy raise MemoryError; a library that cannot may end the process.
    """
    if not _LINUX:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    bound = pages * resource.getpagesize() + (megabytes << 20)
    if before[1] != resource.RLIM_INFINITY:
        bound = min(bound, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (bound, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
