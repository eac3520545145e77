"""The year as a table: a row a month, kept in a file so that a year that was interrupted goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Row:
    """A month: the metric of the first model alone and of what the platform answered, on the same rows."""

    month: int
    rows: int
    frozen: float
    platform: float
    versions: dict[str, int]
    """How many rows each version answered."""
    drift: bool
    drift_share: float
    drifted: list[str]
    lost_performance: bool
    trigger: str | None
    """What started the training after this month, if one ran."""
    candidate: int | None
    """The version that this training made."""
    gate: str | None
    released: str | None
    """How the release of the candidate ended."""

    @property
    def gain(self) -> float:
        """How much better the platform's answers were than the first model's."""
        return self.platform - self.frozen


@dataclass
class Book:
    """All months so far."""

    file: Path
    metric: str = "roc_auc"
    first: int = 0
    """The version that is kept frozen for comparison."""
    start: str = ""
    """The months that the first model was trained on."""
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def open(cls, file: Path) -> Book:
        """The book in `file`, or an empty one."""
        if not file.is_file():
            return cls(file)
        kept = json.loads(file.read_text())
        rows = [Row(**row) for row in kept.pop("rows")]
        kept.pop("summary")
        return cls(file, rows=rows, **kept)

    def save(self) -> None:
        """Write it, whole or not at all."""
        content = {name: getattr(self, name) for name in ("metric", "first", "start")}
        content |= {"summary": self.summary(), "rows": [asdict(row) for row in self.rows]}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1))
        new.replace(self.file)

    def has(self, month: int) -> bool:
        """Whether this month is over."""
        return any(row.month == month for row in self.rows)

    def summary(self) -> dict[str, Any]:
        """The year in figures: the mean gain over the months, the worst one, and how releases ended."""
        gains = [row.gain for row in self.rows]
        outcomes = [row.released for row in self.rows if row.released]
        return {
            "months": len(gains),
            "mean_gain": sum(gains) / len(gains) if gains else None,
            "worst_gain": min(gains, default=None),
            "trainings": sum(row.candidate is not None for row in self.rows),
            "refused": sum((row.gate or "").startswith("refused") for row in self.rows),
            "released": sum("promoted" in outcome for outcome in outcomes),
            "rolled_back": sum("rolled back" in outcome for outcome in outcomes),
        }

    def table(self) -> Table:
        """The months for the terminal."""
        table = Table(title=f"2013: {self.metric} month by month", title_justify="left", box=None, pad_edge=False)
        for title in (
            "MONTH",
            "ROWS",
            "DRIFT",
            "FIRST MODEL",
            "PLATFORM",
            "GAIN",
            "ANSWERED BY",
            "TRAINED BY",
            "RELEASE",
        ):
            table.add_column(title)
        for row in self.rows:
            table.add_row(
                MONTHS[row.month - 1],
                str(row.rows),
                f"{row.drift_share:.0%}{' !' if row.drift else ''}",
                f"{row.frozen:.4f}",
                f"{row.platform:.4f}",
                f"{row.gain:+.4f}",
                " ".join(f"v{version}" for version in row.versions),
                _trained(row),
                row.released or "",
            )
        return table


def _trained(row: Row) -> str:
    if row.candidate is None:
        return ""
    return f"{row.trigger} → version {row.candidate}" + (" (refused)" if (row.gate or "").startswith("refused") else "")
