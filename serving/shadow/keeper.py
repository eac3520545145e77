"""Keeps the shadow process running while an alias `shadow` names a version.

The shadow computes in a process of its own, on what the journal holds: requests reach it after their answers have
gone out, and nothing that it does, hanging included, can slow or fail one.
"""

import fcntl
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

from serving.models.follower import Follower
from serving.settings import Settings

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
_RESTART_SECONDS = 5.0
_STOP_SECONDS = 3.0

Shadows = frozenset[tuple[str, int]]


class ShadowKeeper:
    """Starts, replaces and ends the shadow process. Of several workers, the one that holds the lock does it."""

    def __init__(self, settings: Settings, follower: Follower) -> None:
        """Keep a process for the shadows that `follower` has loaded."""
        self._settings = settings
        self._follower = follower
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow-keeper", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._shadows: Shadows = frozenset()
        self._not_before = 0.0

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the process and stop looking."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        lock = Path(self._settings.data_dir, "shadow.lock").open("w")  # noqa: SIM115 - held until the process ends
        while not self._stopping.wait(_LOOK_SECONDS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            self._look()
        self._end()
        lock.close()

    def _look(self) -> None:
        wanted = shadows_of(self._follower)
        if wanted != self._shadows:
            self._end()
            self._shadows = wanted
            self._not_before = 0.0
        if not wanted:
            return
        ended = self._process is not None and self._process.poll() is not None
        if ended:
            log.error("the shadow process ended; it is started again, and the champion is not touched by it")
            self._process = None
            self._not_before = time.monotonic() + _RESTART_SECONDS
        if self._process is None and time.monotonic() >= self._not_before:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.shadow", str(self._settings.data_dir)], stdin=subprocess.DEVNULL
            )
            names = ", ".join(f"{name} version {version}" for name, version in sorted(wanted))
            log.info("shadow: %s, in process %d", names, self._process.pid)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def shadows_of(follower: Follower) -> Shadows:
    """Return model and version of each shadow that is loaded."""
    deployments = follower.catalog.deployments.items()
    return frozenset((name, found.shadow.version) for name, found in deployments if found.shadow is not None)
