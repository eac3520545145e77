"""What the gate knows of a candidate: its metrics and slices with bounds, beside the champion's on the same rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from pipelines.data.dataset import Window
from pipelines.gate.bootstrap import Interval, compare, interval
from pipelines.gate.checks import Gaps
from pipelines.project import METRICS, Metric, Project
from pipelines.training.metrics import Array

MISSING = "(missing)"


@dataclass(frozen=True)
class Measured:
    """A metric on some rows; `champion` and `loss` (positive: the candidate is worse) are None without a champion."""

    candidate: Interval
    champion: Interval | None = None
    loss: Interval | None = None


@dataclass(frozen=True)
class Slice:
    """The declared metric on the test rows whose `column` is `value`; not measured if they are too few."""

    column: str
    value: str
    rows: int
    measured: Measured | None


@dataclass(frozen=True)
class Evidence:
    """All that the verdict follows from."""

    rows: int
    metrics: dict[Metric, Measured]
    slices: list[Slice] = field(default_factory=list)
    latency_ms: float = 0.0
    gaps: Gaps | None = None
    schema: list[str] = field(default_factory=list)
    """What speaks against the candidate's inputs."""
    declared: list[str] = field(default_factory=list)
    """Changes of the inputs that follow from the declaration, and that callers of the champion will notice."""
    incomparable: list[str] = field(default_factory=list)
    """Why the champion was not asked about the candidate's rows, if there is one."""

    def as_json(self) -> dict[str, Any]:
        """The evidence as JSON keeps it: an interval is low, value and high; None where a figure does not exist."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


def measure(project: Project, test: Window, candidate: Array, champion: Array | None) -> dict[Metric, Measured]:
    """Each metric of the project's task on the test window."""
    return {metric: _measure(project, metric, test.y, candidate, champion) for metric in METRICS[project.task]}


def slices(project: Project, test: Window, candidate: Array, champion: Array | None) -> list[Slice]:
    """The declared metric for each value of each declared slice, where there are `slice_minimum_rows` rows of it."""
    return list(_slices(project, test, candidate, champion))


def _slices(project: Project, test: Window, candidate: Array, champion: Array | None) -> Iterator[Slice]:
    rules = project.evaluation
    for column in rules.slices:
        values = test.x[column].astype(object).where(test.x[column].notna(), MISSING).astype(str)
        for value, places in sorted(values.groupby(values).indices.items()):
            if len(places) < rules.slice_minimum_rows:
                yield Slice(column, str(value), len(places), None)
                continue
            rival = None if champion is None else champion[places]
            found = _measure(project, rules.metric, test.y.iloc[places], candidate[places], rival)
            yield Slice(column, str(value), len(places), found)


def _measure(project: Project, metric: Metric, y: pd.Series, candidate: Array, champion: Array | None) -> Measured:
    rules = project.evaluation
    how: dict[str, Any] = {
        "rounds": rules.bootstrap,
        "confidence": rules.confidence,
        "seed": project.training.seed,
    }
    if champion is None:
        return Measured(interval(project.task, metric, y, candidate, **how))
    return Measured(*compare(project.task, metric, y, candidate, champion, **how))


def _plain(value: Any) -> Any:
    """`value` with intervals as objects and without NaN, which JSON does not know."""
    if isinstance(value, Interval):
        return {name: _plain(number) for name, number in value._asdict().items()}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
