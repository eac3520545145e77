"""Reading the mart: which columns a project declares, as SQL with one type each."""

from __future__ import annotations

from typing import Any, LiteralString

import psycopg
from psycopg import sql

from pipelines.errors import StepError
from pipelines.project import FeatureType, Project, Task

Connection = psycopg.Connection[tuple[Any, ...]]

SQL_TYPES: dict[FeatureType, LiteralString] = {
    "category": "text",
    "number": "double precision",
    "integer": "bigint",
    "boolean": "boolean",
}
FRACTIONS = frozenset({"numeric", "real", "double precision"})
TARGET_TYPES: dict[Task, LiteralString] = {"classification": "integer", "regression": "double precision"}


def table(project: Project) -> sql.Identifier:
    """The mart's name, quoted."""
    return sql.Identifier(*project.data.table.split("."))


def columns(project: Project) -> sql.Composed:
    """The select list: entity key, event time, target, then the features in declared order, each cast to its type."""
    data = project.data
    parts: list[tuple[str, LiteralString]] = [
        (data.entity_key, "text"),
        (data.event_time, "timestamp"),
        (data.target, TARGET_TYPES[project.task]),
    ]
    parts += [(name, SQL_TYPES[kind]) for name, kind in data.features.items()]
    casts = [sql.SQL("{0}::{1} AS {0}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in parts]
    return sql.Composed(casts).join(", ")


def check_columns(connection: Connection, project: Project) -> None:
    """Refuse a mart that is not there, that lacks a declared column, or whose target is no class if it has to be."""
    schema, name = project.data.table.split(".")
    rows = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
        (schema, name),
    )
    found = {str(column): str(kind) for column, kind in rows}
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
    if project.task == "classification" and found[data.target] in FRACTIONS:
        _check_whole(connection, project)


def _check_whole(connection: Connection, project: Project) -> None:
    """Refuse a target with fractions, which the cast to an integer would round to classes that nobody declared."""
    target = sql.Identifier(project.data.target)
    query = sql.SQL("SELECT {0} FROM {1} WHERE {0} NOT IN (0, 1) LIMIT 1").format(target, table(project))
    row = connection.execute(query).fetchone()
    if row is not None:
        raise StepError(
            f"{project.data.table}.{project.data.target} has the value {row[0]}, which is neither 0 nor 1",
            where=str(project.file),
            do="declare `task: regression` if it is a value, or another data.target",
        )
