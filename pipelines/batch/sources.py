"""Reading what is to be scored: which content it has, and its rows as typed batches, in flat memory."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
from psycopg import sql

from pipelines.batch.model import Scorer
from pipelines.batch.places import Place, Table
from pipelines.data.mart import SQL_TYPES
from pipelines.data.snapshot import ARROW_TYPES
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.warehouse import connect

READ_ROWS = 16_384
_HASH_BYTES = 1 << 20
_FETCHED = "rows.csv"
_COLUMN_NUMBER = re.compile(r"In CSV column #(\d+)")


@dataclass(frozen=True)
class Input:
    """The rows to score as a file, the sha256 (64 hex characters) of its content, and how messages call it."""

    file: Path
    digest: str
    name: str


def schema(scorer: Scorer) -> pa.Schema:
    """The columns that are read: the entity key, then the features, typed."""
    fields = [(name, ARROW_TYPES[kind]) for name, kind in scorer.features.items() if name != scorer.entity_key]
    return pa.schema([(scorer.entity_key, pa.string()), *fields])


def fetch(env: Environment, source: Place, scorer: Scorer, scratch: Path) -> Input:
    """The rows of `source`; a table is copied into `scratch`, ordered by entity key, so that the same rows have the
    same digest. StepError if it is not there, lacks a column, or has a value that is not of its type."""
    if isinstance(source, Table):
        file = scratch / _FETCHED
        return Input(file, _copy_table(env, source, scorer, file), source.name)
    if not source.path.is_file():
        raise StepError("there is no such file", where=source.name, do="correct --from")
    digest = hashlib.sha256()
    with source.path.open("rb") as opened:
        while block := opened.read(_HASH_BYTES):
            digest.update(block)
    return Input(source.path, digest.hexdigest(), source.name)


def batches(source: Input, scorer: Scorer) -> Iterator[pa.RecordBatch]:
    """The rows in their order, in batches with the columns of `schema`; what `fetch` refuses, for a file."""
    read = _csv_batches if source.file.suffix == ".csv" else _parquet_batches
    return read(source, scorer)


def _copy_table(env: Environment, source: Table, scorer: Scorer, file: Path) -> str:
    """Copy the table as CSV to `file`; the digest of what was written."""
    digest = hashlib.sha256()
    with connect(env) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        _check_table(connection, source, scorer)
        try:
            with file.open("wb") as opened, connection.cursor().copy(_query(source, scorer)) as copy:
                for block in copy:
                    digest.update(block)
                    opened.write(block)
        except psycopg.errors.DataError as error:
            raise StepError(
                f"a value does not have the type that {scorer.title} takes: {error.diag.message_primary}",
                where=source.name,
                do=f"its columns are {_described(scorer)}",
            ) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise StepError(
                f"it may not be read: {error.diag.message_primary}",
                where=source.name,
                do="grant SELECT on it to the role that the steps use",
            ) from error
    return digest.hexdigest()


def _query(source: Table, scorer: Scorer) -> sql.Composed:
    key = sql.Identifier(scorer.entity_key)
    casts = [sql.SQL("{0}::text AS {0}").format(key)]
    casts += [
        sql.SQL("{0}::{1} AS {0}").format(sql.Identifier(name), sql.SQL(SQL_TYPES[kind]))
        for name, kind in scorer.features.items()
        if name != scorer.entity_key
    ]
    return sql.SQL('COPY (SELECT {} FROM {} ORDER BY {}::text COLLATE "C") TO STDOUT (FORMAT csv, HEADER)').format(
        sql.SQL(", ").join(casts), sql.Identifier(*source.parts), key
    )


def _check_table(connection: psycopg.Connection[tuple[object, ...]], source: Table, scorer: Scorer) -> None:
    rows = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s", source.parts
    )
    found = [str(row[0]) for row in rows]
    if not found:
        raise StepError("there is no such table, or it may not be read", where=source.name, do="correct --from")
    _check_columns(found, scorer, source.name)


def _csv_batches(source: Input, scorer: Scorer) -> Iterator[pa.RecordBatch]:
    with source.file.open(encoding="utf-8-sig", newline="") as opened:
        header = next(csv.reader(opened), [])
    _check_columns(header, scorer, source.name)
    wanted = schema(scorer)
    options = pv.ConvertOptions(
        column_types=wanted,
        include_columns=wanted.names,
        null_values=[""],
        true_values=["t", "true", "True", "TRUE", "1"],
        false_values=["f", "false", "False", "FALSE", "0"],
        strings_can_be_null=True,
        quoted_strings_can_be_null=source.file.name != _FETCHED,
    )
    # one thread: only then does a refusal name the row
    reading = pv.ReadOptions(use_threads=False)
    with (
        _conversion_errors(source, scorer, header),
        pv.open_csv(source.file, read_options=reading, convert_options=options) as reader,
    ):
        yield from reader


def _parquet_batches(source: Input, scorer: Scorer) -> Iterator[pa.RecordBatch]:
    wanted = schema(scorer)
    with _conversion_errors(source, scorer), pq.ParquetFile(source.file) as opened:
        _check_columns(opened.schema_arrow.names, scorer, source.name)
        for batch in opened.iter_batches(READ_ROWS, columns=wanted.names):
            yield pa.RecordBatch.from_arrays(
                [_cast(batch.column(field.name), field) for field in wanted], schema=wanted
            )


def _cast(values: pa.Array, field: pa.Field) -> pa.Array:
    try:
        return values.cast(field.type)
    except pa.ArrowException as error:
        raise pa.ArrowInvalid(f"column {field.name}: {error}") from error


@contextmanager
def _conversion_errors(source: Input, scorer: Scorer, header: list[str] | None = None) -> Iterator[None]:
    """Turn Arrow's refusal inside the block into a StepError that names the column."""
    try:
        yield
    except pa.ArrowException as error:
        text = _COLUMN_NUMBER.sub(lambda found: f"column {(header or [])[int(found[1])]}", str(error))
        raise StepError(
            f"it cannot be read: {text.splitlines()[0]}",
            where=source.name,
            do=f"the columns that {scorer.title} takes: {_described(scorer)}",
        ) from error


def _check_columns(found: Iterable[str], scorer: Scorer, where: str) -> None:
    """Refuse columns `found` that lack one that is needed, or have one twice."""
    names = list(found)
    needed = schema(scorer).names
    missing = [name for name in needed if name not in names]
    if missing:
        raise StepError(
            f"it has no column {', '.join(missing)}, which {scorer.title} takes",
            where=where,
            do=f"add it; it has: {', '.join(names) or 'none'}",
        )
    twice = sorted({name for name in needed if names.count(name) > 1})
    if twice:
        raise StepError(f"it has the column {', '.join(twice)} twice", where=where, do="remove one of them")


def _described(scorer: Scorer) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in scorer.features.items())
