"""What a table looks like from outside: its columns, their types, and a few counts to guess their meaning by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import psycopg
from psycopg import sql

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.warehouse import connect

Kind = Literal["integer", "number", "boolean", "text", "time", "date", "other"]
AirbyteType = Literal["string", "integer", "number", "boolean", "timestamp", "date"]

SAMPLE_ROWS = 100_000
ORDERED = frozenset({"integer", "number", "time", "date"})
_NAME = re.compile(r"[a-z_][a-z0-9_]*")
KINDS: dict[str, Kind] = {
    "smallint": "integer",
    "integer": "integer",
    "bigint": "integer",
    "real": "number",
    "double precision": "number",
    "numeric": "number",
    "boolean": "boolean",
    "text": "text",
    "character varying": "text",
    "character": "text",
    "uuid": "text",
    "timestamp without time zone": "time",
    "timestamp with time zone": "time",
    "date": "date",
}
CSV_KINDS: dict[str, Kind] = {
    "BIGINT": "integer",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "VARCHAR": "text",
    "DATE": "date",
    "TIMESTAMP": "time",
    "TIMESTAMP WITH TIME ZONE": "time",
}
AIRBYTE_TYPES: dict[Kind, AirbyteType] = {
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "text": "string",
    "time": "timestamp",
    "date": "date",
    "other": "string",
}


@dataclass(frozen=True)
class Column:
    """A column, with counts over the rows that were looked at. `low` and `high` are of numbers and times only."""

    name: str
    type: str
    """As the database names it."""
    kind: Kind
    rows: int
    known: int
    distinct: int
    low: Any = None
    high: Any = None

    @property
    def identifies(self) -> bool:
        """Whether each row has a value of its own."""
        return self.rows > 0 and self.distinct == self.rows == self.known

    @property
    def binary(self) -> bool:
        """Whether it is true or false, as a boolean or as 1 and 0."""
        return self.kind == "boolean" or (
            self.kind == "integer" and self.distinct <= 2 and {self.low, self.high} <= {0, 1}
        )


def read_table(env: Environment, table: str) -> list[Column]:
    """The columns of `table` (schema.name) with counts over its first 100,000 rows; StepError if it is not there."""
    schema, _, name = table.partition(".")
    with connect(env) as database:
        found = database.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            (schema, name),
        ).fetchall()
        if not found:
            raise StepError(
                f"the table {table} does not exist, or may not be read",
                where="warehouse",
                do="give it as schema.table; the role `pipelines` needs the right to read it",
            )
        columns = [_count(database, schema, name, column, kind) for column, kind in found]
    if not columns[0].rows:
        raise StepError(
            f"the table {table} is empty: nothing can be guessed from it", where="warehouse", do="load some rows first"
        )
    return columns


def _count(database: psycopg.Connection[Any], schema: str, table: str, column: str, type_name: str) -> Column:
    kind = KINDS.get(type_name, "other")
    ordered = kind in ORDERED
    query = sql.SQL(
        "SELECT count(*), count(c), {distinct}{bounds} FROM (SELECT {column} AS c FROM {table} LIMIT {limit}) AS sample"
    )
    row = database.execute(
        query.format(
            distinct=sql.SQL("0" if kind == "other" else "count(DISTINCT c)"),  # json has no equality
            bounds=sql.SQL(", min(c), max(c)" if ordered else ""),
            column=sql.Identifier(column),
            table=sql.Identifier(schema, table),
            limit=sql.Literal(SAMPLE_ROWS),
        )
    ).fetchone()
    rows, known, distinct, *bounds = row or (0, 0, 0)
    low, high = bounds or (None, None)
    return Column(column, type_name, kind, rows, known, distinct, low, high)


def read_csv(path: Path) -> tuple[list[Column], dict[str, AirbyteType]]:
    """The columns of a CSV file with counts over its first 100,000 rows, and name → type as Airbyte's stream has it.

    StepError if the file cannot be read, or if a name of its header cannot be that of a column.
    """
    with duckdb.connect() as database:
        try:
            database.execute(
                "CREATE TABLE file AS SELECT * FROM read_csv(?, header = true, nullstr = '', sample_size = -1) LIMIT ?",
                [str(path), SAMPLE_ROWS],
            )
        except duckdb.Error as error:
            reason = str(error).splitlines()[0]
            raise StepError(f"cannot be read: {reason}", where=str(path), do="give a CSV file with a header") from None
        types = [(str(name), str(type_name)) for name, type_name, *_ in database.execute("DESCRIBE file").fetchall()]
        odd = [name for name, _ in types if not _NAME.fullmatch(name)]
        if odd:
            raise StepError(
                f"the header has names that no column can have: {', '.join(odd)}",
                where=str(path),
                do="use small letters, digits and underscores",
            )
        columns = [_count_in_file(database, name, type_name) for name, type_name in types]
    if not columns[0].rows:
        raise StepError(
            "the file has no rows: nothing can be guessed from it", where=str(path), do="give one with rows"
        )
    return columns, {column.name: AIRBYTE_TYPES[column.kind] for column in columns}


def _count_in_file(database: duckdb.DuckDBPyConnection, name: str, type_name: str) -> Column:
    kind = CSV_KINDS.get(type_name, "text")
    row = database.execute(
        f'SELECT count(*), count(c), count(DISTINCT c), min(c), max(c) FROM (SELECT "{name}" AS c FROM file)'  # noqa: S608 (_NAME allows no quote)
    )
    rows, known, distinct, low, high = row.fetchone() or (0, 0, 0, None, None)
    ordered = kind in ORDERED
    return Column(
        name, type_name.lower(), kind, rows, known, distinct, low if ordered else None, high if ordered else None
    )
