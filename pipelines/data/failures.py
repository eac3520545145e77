"""Step ``failures``: which dbt tests failed when they last ran, and on which rows.

dbt itself keeps that in the warehouse (the macro ``record_failures``), so it does not matter who started dbt, or where.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection as Database
from psycopg import sql

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.progress import say
from pipelines.project import Project
from pipelines.warehouse import connect

SHOWN_ROWS = 10
_WIDTH = 400


@dataclass(frozen=True)
class FailingNode:
    """A test that found rows, or a model or test that could not run. `relation` holds the rows, if there are any."""

    name: str
    kind: str
    file: str
    message: str
    relation: str | None


def run(env: Environment, project: Project, since: datetime | None = None) -> dict[str, Any]:
    """Print what failed (with `since`: at or after that moment), with up to 10 rows each.

    Returns ``{"failing": [{"name", "message", "rows"}]}``.
    """
    nodes = failing_nodes(env, project, since)
    with connect(env) as database:
        found = [(node, _rows(database, node)) for node in nodes]
    for node, rows in found:
        say("\n".join(describe(node, rows)))
    if not found:
        say(
            f"  no test of {project.name} failed "
            + (f"since {since:%Y-%m-%d %H:%M:%S}" if since else "when it last ran")
        )
    return {"failing": [{"name": node.name, "message": node.message, "rows": rows} for node, rows in found]}


def failing_nodes(env: Environment, project: Project, since: datetime | None = None) -> list[FailingNode]:
    """What of the models and tests of `project` failed when it was last run, if that was not before `since`."""
    with connect(env) as database:
        exists = database.execute("SELECT to_regclass('dbt_failures.failing_nodes')").fetchone()
        if not exists or exists[0] is None:
            return []
        rows = database.execute(
            "SELECT name, resource_type, file, message, relation FROM dbt_failures.failing_nodes"
            " WHERE project = %s AND failed_at >= coalesce(%s::timestamptz, '-infinity') ORDER BY resource_type, name",
            (project.name, since),
        )
        return [FailingNode(*row) for row in rows]


def failure_error(env: Environment, nodes: list[FailingNode]) -> StepError:
    """The failure of a dbt run as one message with the rows."""
    with connect(env) as database:
        lines = [line for node in nodes for line in describe(node, _rows(database, node))]
    return StepError(
        "\n".join([f"{len(nodes)} failed; the mart was not replaced", *lines]),
        where="dbt build",
        do="correct the rows at their source (or the test, if it is wrong), then start again",
    )


def describe(node: FailingNode, rows: list[dict[str, Any]]) -> list[str]:
    """The lines that tell a person about `node` and its rows."""
    lines = [f"  {node.kind} {node.name} ({node.file}): {' '.join((node.message or '').split())}"]
    for row in rows:
        known = ", ".join(f"{name}={value}" for name, value in row.items() if value is not None)
        lines.append(f"    {known[:_WIDTH]}{'…' if len(known) > _WIDTH else ''}")
    return lines


def _rows(database: Database[Any], node: FailingNode) -> list[dict[str, Any]]:
    """Up to 10 of the rows that a test stored."""
    if node.relation is None:
        return []
    exists = database.execute("SELECT to_regclass(%s)", (node.relation,)).fetchone()
    if not exists or exists[0] is None:
        return []
    _, schema, table = (part.strip('"') for part in node.relation.split("."))
    query = sql.SQL("SELECT * FROM {} LIMIT {}").format(sql.Identifier(schema, table), sql.Literal(SHOWN_ROWS))
    result = database.execute(query)
    names = [column.name for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result]
