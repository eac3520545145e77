"""Reading the mart: which columns a project declares, as SQL with one type each."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

from pipelines.errors import StepError
from pipelines.project import FeatureType, Project

Connection = psycopg.Connection[tuple[Any, ...]]

SQL_TYPES: dict[FeatureType, LiteralString] = {
    "category": "text",
    "number": "double precision",
    "integer": "bigint",
    "boolean": "boolean",
}


def table(project: Project) -> sql.Identifier:
    """The mart's name, quoted."""
    return sql.Identifier(*project.data.table.split("."))


def columns(project: Project) -> sql.Composed:
    """The select list: entity key, event time, target, then the features in declared order, each cast to its type."""
    data = project.data
    parts: list[tuple[str, LiteralString]] = [
        (data.entity_key, "text"),
        (data.event_time, "timestamp"),
        (data.target, "integer"),
    ]
    parts += [(name, SQL_TYPES[kind]) for name, kind in data.features.items()]
    casts = [sql.SQL("{0}::{1} AS {0}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in parts]
    return sql.Composed(casts).join(", ")


def check_columns(connection: Connection, project: Project) -> None:
    """Refuse a mart that is not there or that lacks a declared column."""
    schema, name = project.data.table.split(".")
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s", (schema, name)
    )
    found = {row[0] for row in rows}
    if not found:
        raise StepError(
            f"the table {project.data.table} does not exist",
            where="warehouse",
            do=f"build it first: `python -m pipelines ingest {project.name}`, then `transform {project.name}`",
        )
    data = project.data
    missing = [
        column for column in (data.entity_key, data.event_time, data.target, *data.features) if column not in found
    ]
    if missing:
        raise StepError(
            f"{project.data.table} has no column {', '.join(missing)}",
            where=str(project.file),
            do=f"correct data.* in the declaration; the table has: {', '.join(sorted(found))}",
        )
