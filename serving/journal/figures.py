"""What Prometheus sees of the shipper: a file in the journal's directory, which the model server's page adds to its
own.

The file is also the shipper's sign of life.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from serving.journal.healthcheck import FIGURES_FILE

_EVERY_SECONDS = 1.0


@dataclass
class Figures:
    """The series, as fields with their names; see `_SERIES` for what they mean."""

    journal: Path
    shipped_rows: int = 0
    refused_rows: int = 0
    damaged_lines: int = 0
    waiting_bytes: int = 0
    lag_seconds: float = 0.0
    postgres_up: bool = False
    written_at: float = 0.0

    def due(self) -> bool:
        """Whether it is time to write them again."""
        return not 0 <= time.monotonic() - self.written_at < _EVERY_SECONDS

    def write(self) -> None:
        """Replace the file.

        Raises:
            OSError: the disk is full, or fails.
        """
        self.written_at = time.monotonic()
        unfinished = self.journal / f"{FIGURES_FILE}.new"
        unfinished.write_bytes(self.exposition(time.time()))
        unfinished.replace(self.journal / FIGURES_FILE)

    def exposition(self, now: float) -> bytes:
        """Return all series in Prometheus' text format."""
        values = vars(self) | {"heartbeat": now}
        lines = (
            f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {float(values[field])!r}\n"
            for field, name, kind, text in _SERIES
        )
        return "".join(lines).encode()


_SERIES = (
    ("shipped_rows", "serving_journal_shipped_rows_total", "counter", "Rows committed to PostgreSQL."),
    ("refused_rows", "serving_journal_refused_rows_total", "counter", "Rows that PostgreSQL refused, put aside."),
    ("damaged_lines", "serving_journal_damaged_lines_total", "counter", "Lines of the journal that were unreadable."),
    ("waiting_bytes", "serving_journal_waiting_bytes", "gauge", "Bytes of the journal that are not in PostgreSQL yet."),
    ("lag_seconds", "serving_journal_lag_seconds", "gauge", "Age of the oldest entry that is not in PostgreSQL yet."),
    ("postgres_up", "serving_journal_postgres_up", "gauge", "1 if PostgreSQL took what it was last given."),
    ("heartbeat", "serving_journal_shipper_heartbeat_timestamp_seconds", "gauge", "When the shipper was last alive."),
)
