"""What the worker processes of one server leave in their cache directory for each other and for the next start."""

import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.models.registry import Version

log = logging.getLogger(__name__)

Kept = tuple[str, Version]
"""A role, and the version that serves in it. The version's tags hold the digest of its artifact."""


class StateFile:
    """What serves, so that a start without MLflow finds it again."""

    def __init__(self, path: Path) -> None:
        """Keep it in the file `path`."""
        self._path = path
        self._written: Sequence[Kept] | None = None

    def read(self) -> list[Kept]:
        """Return what was written last; nothing if there is no file, or none that can be read."""
        try:
            entries = json.loads(self._path.read_text())
            return [_parse(entry) for entry in entries]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as exc:
            log.error(
                "%s cannot be read (%s: %s); what served before is not known", self._path, type(exc).__name__, exc
            )
            return []

    def write(self, kept: Sequence[Kept]) -> None:
        """Replace what is written, in one step, if it is not this already; only this user can read it."""
        if kept == self._written:
            return
        try:
            self._replace(kept)
            self._written = kept
        except OSError as exc:
            log.error("what serves cannot be kept for the next start: %s", exc)

    def _replace(self, kept: Sequence[Kept]) -> None:
        entries = [
            {"name": v.name, "role": role, "version": v.number, "run_id": v.run_id, "tags": dict(v.tags)}
            for role, v in kept
        ]
        descriptor, scratch = tempfile.mkstemp(prefix=f".{self._path.name}-", dir=self._path.parent)
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(entries, file, indent=1)
                file.flush()
                os.fsync(descriptor)
            Path(scratch).replace(self._path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise


def _parse(entry: dict[str, Any]) -> Kept:
    tags = {str(key): str(value) for key, value in entry["tags"].items()}
    return entry["role"], Version(entry["name"], int(entry["version"]), entry["run_id"], tags, "")


class Bell:
    """Tells the other worker processes that something happened, by the time of a file: looking costs no call to
    MLflow and no connection."""

    def __init__(self, path: Path) -> None:
        """Ring and hear by the file `path`, which is made if it is missing."""
        self._path = path
        path.touch(mode=0o600)
        self._heard = self._rung()

    def ring(self) -> None:
        """Let every process hear it."""
        now = time.time_ns()
        os.utime(self._path, ns=(now, now))

    def heard(self) -> bool:
        """Whether it rang since the last call, or since the start."""
        before, self._heard = self._heard, self._rung()
        return self._heard != before

    def _rung(self) -> int:
        try:
            return self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0
