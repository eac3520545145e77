"""What a new project is made of, decided before anything is written."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pipelines.authoring.facts import AirbyteType, Column
from pipelines.authoring.guess import Roles
from pipelines.errors import StepError
from pipelines.project import FeatureType, Task

TEST_SHARE = 0.2
MINIMUM_ROWS = 1000
SQL_TYPES: dict[FeatureType, str] = {
    "category": "text",
    "number": "double precision",
    "integer": "bigint",
    "boolean": "boolean",
}
RESERVED = frozenset(
    """
    all analyse analyze and any array as asc asymmetric both case cast check collate column constraint create
    current_date current_role current_time current_timestamp current_user default deferrable desc distinct do else end
    except false fetch for foreign from grant group having in initially intersect into lateral leading limit localtime
    localtimestamp
    not null offset on only or order placing primary references returning select session_user some symmetric system_user
    table then to trailing true union unique user using variadic when where window with
    """.split()  # noqa: SIM905 (a list would take eighty lines)
)
"""What PostgreSQL takes as a column's name only in quotes."""


@dataclass(frozen=True)
class Field:
    """A column of the mart: where it comes from in the table, and as what."""

    name: str
    source: str
    type: str
    """Of PostgreSQL, as the mart's contract has it."""
    kind: FeatureType | None = None
    """Of the feature, if it is one."""
    nullable: bool = False
    """Whether values were missing in the rows that were looked at."""


@dataclass(frozen=True)
class Plan:
    """All that is needed to write a project. `columns` (name → Airbyte type) is set if its rows come as CSV files."""

    name: str
    task: Task
    table: str
    key: Field
    time: Field
    target: Field
    features: tuple[Field, ...]
    test_days: int
    minimum_rows: int
    notes: tuple[str, ...] = ()
    columns: dict[str, AirbyteType] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[Field, ...]:
        """All columns of the mart in their order."""
        return (self.key, self.time, *self.features, self.target)


def example(name: str, task: Task) -> Plan:
    """A project whose table is not known yet: columns to be replaced by one's own."""
    target = Field("target", "target", "boolean" if task == "classification" else "double precision")
    return Plan(
        name=name,
        task=task,
        table=f"raw.{name}",
        key=Field("id", "id", "text"),
        time=Field("happened_at", "happened_at", "timestamp"),
        target=target,
        features=(
            Field("amount", "amount", SQL_TYPES["number"], "number"),
            Field("category", "category", SQL_TYPES["category"], "category"),
        ),
        test_days=30,
        minimum_rows=MINIMUM_ROWS,
        notes=("the table and its columns are examples: put your own into project.yaml and into the dbt models",),
    )


def from_roles(name: str, table: str, roles: Roles, columns: dict[str, AirbyteType] | None = None) -> Plan:
    """A project on the columns of `table` in their `roles`; StepError if two names become one."""
    zoned = roles.time.type.endswith("with time zone") or (bool(columns) and roles.time.kind == "time")
    number = "boolean" if roles.target.kind == "boolean" else "integer"
    found = Plan(
        name=name,
        task=roles.task,
        table=table,
        key=_field(roles.key, "text"),
        time=_field(roles.time, "timestamptz" if zoned else "timestamp"),
        target=_field(roles.target, number if roles.task == "classification" else "double precision"),
        features=tuple(_field(column, SQL_TYPES[kind], kind) for column, kind in roles.features),
        test_days=max(1, round(_days(roles.time) * TEST_SHARE)),
        minimum_rows=max(1, min(MINIMUM_ROWS, roles.key.rows // 2)),
        notes=roles.notes,
        columns=columns or {},
    )
    names = [item.name for item in found.fields]
    twice = sorted({item for item in names if names.count(item) > 1})
    if twice:
        raise StepError(f"two columns would be called {', '.join(twice)}", where=table, do="rename one in the table")
    return found


def _field(column: Column, type_name: str, kind: FeatureType | None = None) -> Field:
    return Field(identifier(column.name), column.name, type_name, kind, nullable=column.known < column.rows)


def identifier(name: str) -> str:
    """`name` in the form that declarations take: small letters, digits and underscores (`MedInc` → `med_inc`,
    `order` → `order_`)."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    plain = re.sub(r"[^a-z0-9_]+", "_", words.lower()).strip("_")
    safe = plain if re.match(r"[a-z_]", plain) else f"_{plain}"
    return f"{safe}_" if safe in RESERVED else safe


def _days(column: Column) -> int:
    """The days that a column of times spans."""
    low, high = _moment(column.low), _moment(column.high)
    return math.ceil((high - low).total_seconds() / 86400)


def _moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day) if isinstance(value, date) else datetime(1970, 1, 1)
