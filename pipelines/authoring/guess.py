"""What the columns of a table probably mean: which is the key, the event time, the target; which are features."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.authoring.facts import Column
from pipelines.errors import StepError
from pipelines.project import FeatureType, Task

CATEGORIES = 200
"""A text column with more different values than this is no feature, unless a person says so."""


@dataclass(frozen=True)
class Roles:
    """Which column is what; `notes` tell a person what was guessed and what was left out."""

    key: Column
    time: Column
    target: Column
    task: Task
    features: tuple[tuple[Column, FeatureType], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Role:
    """How a column is found for a role: `fits` says which may have it, `name` what such columns are often called."""

    title: str
    option: str
    fits: Callable[[Column], bool]
    name: re.Pattern[str]
    last: bool = False
    """Whether the last column, not the first, is meant where several are alike."""

    def find(self, columns: Sequence[Column], given: str | None) -> Column:
        """The column called `given`, or the likeliest of `columns`; StepError if there is none that fits."""
        if given is not None:
            return self._given(columns, given)
        fitting = [column for column in columns if self.fits(column)]
        named = [column for column in fitting if self.name.search(column.name)] or fitting
        if not named:
            raise StepError(
                f"no column looks like the {self.title}",
                where=", ".join(f"{column.name} {column.type}" for column in columns),
                do=f"name it with {self.option} COLUMN; if there is none, add one to the table",
            )
        return named[-1 if self.last else 0]

    def _given(self, columns: Sequence[Column], name: str) -> Column:
        where = f"{self.option} {name}"
        found = next((column for column in columns if column.name == name), None)
        if found is None:
            known = ", ".join(column.name for column in columns)
            raise StepError("there is no such column left", where=where, do=f"there are: {known}")
        if not self.fits(found):
            raise StepError(
                f"the column cannot be the {self.title}: it is {found.type}, with {found.distinct} different values "
                f"and {found.rows - found.known} missing ones in {found.rows} rows",
                where=where,
                do="name another column, or correct the table",
            )
        return found


KEY = _Role(
    "entity key",
    "--key",
    lambda column: column.kind in {"text", "integer"} and column.identifies,
    re.compile(r"(^|_)(id|key|uuid|number|no)$", re.IGNORECASE),
)
TIME = _Role(
    "event time",
    "--event-time",
    lambda column: column.kind in {"time", "date"},
    re.compile(r"(_at|_on|time|date|day)$|^(event|created|ordered)", re.IGNORECASE),
)
TARGETS: dict[Task | None, Callable[[Column], bool]] = {
    "classification": lambda column: column.binary,
    "regression": lambda column: column.kind in {"number", "integer"} and not column.binary,
    None: lambda column: column.binary or column.kind in {"number", "integer"},
}
TARGET_NAME = re.compile(r"^(target|label|y|outcome)$|^(is|has|was|will)_", re.IGNORECASE)


def guess(
    columns: Sequence[Column],
    *,
    task: Task | None = None,
    key: str | None = None,
    time: str | None = None,
    target: str | None = None,
) -> Roles:
    """The roles of `columns`: what is given is taken, the rest is guessed. StepError where no column fits."""
    left = list(columns)
    notes = []
    found = []
    goal = _Role("target", "--target", TARGETS[task], TARGET_NAME, last=True)
    for role, given in ((KEY, key), (TIME, time), (goal, target)):
        column = role.find(left, given)
        left.remove(column)
        found.append(column)
        notes.append(f"{role.title}: {column.name}{'' if given else ' (guessed)'}")
    decided: Task = task or ("classification" if found[2].binary else "regression")
    if task is None:
        notes.append(f"task: {decided} (guessed)")
    features = tuple((column, kind) for column in left if (kind := _feature(column)))
    dropped = [f"{column.name} ({_reason(column)})" for column in left if not _feature(column)]
    if not features:
        raise StepError("no column is left that could be a feature", do="add features to the table")
    if gaps := [column.name for column, _ in features if column.known < column.rows]:
        notes.append(f"may be missing: {', '.join(gaps)} (guessed)")
    if dropped:
        notes.append(f"left out: {', '.join(dropped)}")
    return Roles(found[0], found[1], found[2], decided, features, tuple(notes))


def _feature(column: Column) -> FeatureType | None:
    """The type of the feature that the column can be, if it can be one."""
    if column.kind == "text":
        return "category" if column.distinct <= CATEGORIES and not column.identifies else None
    if column.kind in {"integer", "number", "boolean"}:
        kinds: dict[str, FeatureType] = {"integer": "integer", "number": "number", "boolean": "boolean"}
        return kinds[column.kind]
    return None


def _reason(column: Column) -> str:
    return f"text with {column.distinct} different values" if column.kind == "text" else column.type
