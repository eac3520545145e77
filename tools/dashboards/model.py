"""What a dashboard consists of. Where a panel stands follows from the order and the widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

COLUMNS = 24
"""The width of a dashboard."""


class Kind(StrEnum):
    """How a panel shows its figures, in Grafana's words."""

    STAT = "stat"
    """The present value of each series."""
    CHART = "timeseries"
    TABLE = "table"
    """The present values, a row for each set of labels."""


class Color(StrEnum):
    """What a value means."""

    GOOD = "green"
    DOUBTFUL = "orange"
    BAD = "red"


@dataclass(frozen=True)
class Query:
    """PromQL, and how its series are named. In a table `name` is the title of its column, with a unit of its own."""

    expr: str
    name: str
    unit: str = ""


@dataclass(frozen=True)
class Panel:
    """A panel. `description` is what somebody reads who does not know the figure; `unit` is one of Grafana's.

    `steps` are (from this value on, colour), ascending: lines in a chart, colours elsewhere. `words` are shown in place
    of values. `alerts` are those that fire on these figures: the description names their run-books.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = Kind.CHART
    width: int = 8
    steps: tuple[tuple[float, Color], ...] = ()
    words: Mapping[int, tuple[str, Color]] | None = None
    alerts: tuple[str, ...] = ()
    stacked: bool = False
    names_only: bool = False
    """Show a series by its name, not its value."""

    @property
    def height(self) -> int:
        """In Grafana's rows."""
        return {Kind.STAT: 4, Kind.CHART: 8, Kind.TABLE: 8}[self.kind]


@dataclass(frozen=True)
class Row:
    """Panels under a heading; they fill lines of `COLUMNS` from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """What the reader chooses: one value of a metric's label, or several with `many`."""

    name: str
    title: str
    metric: str
    label: str
    many: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A dashboard; `name` is its file's and, after `platform-`, its address."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()
