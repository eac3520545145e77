"""`python -m serving.journal`: take the journal to PostgreSQL."""

import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from serving import logs
from serving.errors import SettingsError
from serving.journal.ship import Shipper

log = logging.getLogger("serving.journal")

_DEFAULT_RETENTION_DAYS = "365"
_NICENESS = 10
_LOCK_SECONDS = 0.5


@dataclass(frozen=True)
class ShipperSettings:
    """What the shipper needs to know."""

    url: str = field(repr=False)
    journal: Path
    retention_days: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "ShipperSettings":
        """Read the settings.

        Raises:
            SettingsError: one or more variables are missing or wrong; all are named.
        """
        required = ("PREDICTIONS_URL", "SERVING_DATA_DIR")
        problems = [f"{name} is not set" for name in required if not env.get(name)]
        days = env.get("SERVING_RETENTION_DAYS") or _DEFAULT_RETENTION_DAYS
        if not days.isdigit():
            problems.append(f"SERVING_RETENTION_DAYS: expected a whole number of days, 0 for ever, got {days!r}")
        if problems:
            raise SettingsError("wrong settings of the journal's shipper:\n  " + "\n  ".join(problems))
        return cls(env["PREDICTIONS_URL"], Path(env["SERVING_DATA_DIR"], "journal"), int(days))


def main() -> int:
    """Ship until a signal; return the exit code: 2 for wrong settings."""
    try:
        settings = ShipperSettings.from_env(os.environ)
        settings.journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (SettingsError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 2
    logs.configure()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    os.nice(_NICENESS)  # answers come first
    with Path(settings.journal, "shipper.lock").open("w") as lock:
        if _alone(lock.fileno(), stop):
            Shipper(settings.journal, settings.url, settings.retention_days).run(stop)
    return 0


def _alone(lock: int, stop: threading.Event) -> bool:
    """Wait until no other shipper has the journal; False if it is to stop before."""
    told = False
    while not stop.is_set():
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                log.warning("another shipper has this journal; waiting for its end")
            told = True
            stop.wait(_LOCK_SECONDS)
        else:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
