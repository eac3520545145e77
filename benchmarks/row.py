"""One figure of a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured, the figure with its unit, and what we aim at."""

    what: str
    value: str
    aim: str = ""


def show(rows: Iterable[Row]) -> None:
    """Print a line for each figure."""
    for row in rows:
        print(f"{row.what:<58} {row.value:>22}   {row.aim}", flush=True)
