"""Whether the shipper is alive: `python -I -S healthcheck.py JOURNAL_DIRECTORY`. Needs the standard library only."""

import sys
import time
from pathlib import Path

FIGURES_FILE = "shipper.prom"
"""Written by the shipper every few seconds, whether PostgreSQL is there or not."""
MAX_AGE_SECONDS = 60.0


def problem(journal: Path) -> str | None:
    """Return what is wrong, or None."""
    try:
        age = time.time() - (journal / FIGURES_FILE).stat().st_mtime
    except FileNotFoundError:
        return f"{journal / FIGURES_FILE} is not there: the shipper has not begun yet"
    if age > MAX_AGE_SECONDS:
        return f"the shipper has not moved for {age:.0f} s"
    return None


if __name__ == "__main__":
    sys.exit(problem(Path(sys.argv[1])))
