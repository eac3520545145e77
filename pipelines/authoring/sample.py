"""The rows that a trial works on: a sample of what the project reads, under the names that dbt's macros look for."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from pipelines.errors import StepError

FLOOR_ROWS = 2000
"""A share of a small table would be too few rows to split: at least this many are taken."""

Connection = psycopg.Connection[Any]
Relation = tuple[str, str]


def sources_of(manifest: dict[str, Any], table: str) -> list[Relation]:
    """The source relations (schema, name) that the mart `table`, what is upstream of it, and their tests read."""
    schema, _, name = table.partition(".")
    nodes = manifest["nodes"]
    models = {key for key, node in nodes.items() if (node["schema"], node.get("alias")) == (schema, name)}
    needed: set[str] = set()
    while models - needed:
        needed |= models
        tests = {key for key, node in nodes.items() if node["resource_type"] == "test"} - needed
        readers = needed | {key for key in tests if needed & set(nodes[key]["depends_on"]["nodes"])}
        models = {parent for key in readers if key in nodes for parent in nodes[key]["depends_on"]["nodes"]}
    return [(source["schema"], source["identifier"]) for key, source in manifest["sources"].items() if key in needed]


def sample_sources(connection: Connection, schema: str, sources: list[Relation], share: float) -> str:
    """Put every source into `schema` as `source_<name>`: of the largest a sample of `share`, the others whole, so that
    joins find their partners. Returns what was sampled, for a person."""
    counts = {source: _count(connection, source) for source in sources}
    largest = max(counts, key=lambda source: counts[source])
    for source in sources:
        target = sql.Identifier(schema, f"source_{source[1]}")
        if source != largest:
            connection.execute(sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(target, sql.Identifier(*source)))
    rows = _take(connection, largest, (schema, f"source_{largest[1]}"), counts[largest], share)
    return f"{rows:,} of {counts[largest]:,} rows of {'.'.join(largest)}" + (
        f", {len(sources) - 1} sources whole" if len(sources) > 1 else ""
    )


def sample_table(connection: Connection, schema: str, table: Relation, share: float) -> str:
    """Put a sample of `share` of the rows of `table` into `schema` under the same name."""
    count = _count(connection, table)
    rows = _take(connection, table, (schema, table[1]), count, share)
    return f"{rows:,} of {count:,} rows of {'.'.join(table)}"


def _count(connection: Connection, relation: Relation) -> int:
    try:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*relation))).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        raise StepError(
            f"the table {'.'.join(relation)} does not exist",
            where="warehouse",
            do="load data first: `platform run PROJECT ingest`, or the way that fills it",
        ) from None
    except psycopg.errors.InsufficientPrivilege:
        raise StepError(
            f"the table {'.'.join(relation)} may not be read",
            where="warehouse",
            do="grant the role `pipelines` SELECT on it, and USAGE on its schema",
        ) from None
    if not row or not row[0]:
        raise StepError(f"the table {'.'.join(relation)} is empty", where="warehouse", do="load data first")
    return int(row[0])


def _take(connection: Connection, source: Relation, target: Relation, count: int, share: float) -> int:
    """Copy `share` of the rows, the same ones each time; their number."""
    taken = min(1.0, max(share, FLOOR_ROWS / count))
    # A scan that joins another one in the middle, or several workers, would draw other rows.
    connection.execute("SET synchronize_seqscans = off; SET max_parallel_workers_per_gather = 0; SELECT setseed(0.5)")
    done = connection.execute(
        sql.SQL("CREATE TABLE {} AS SELECT * FROM {} WHERE random() < {}").format(
            sql.Identifier(*target), sql.Identifier(*source), sql.Literal(taken)
        )
    )
    return done.rowcount
