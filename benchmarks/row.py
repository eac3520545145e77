"""One figure of the table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was measured, the figure with its unit, and what we aim at."""

    what: str
    value: str
    aim: str = ""
