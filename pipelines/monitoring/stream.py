"""New predictions as Arrow tables, a few megabytes at a time, in the order in which they were made."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.json as pj
from numpy.typing import NDArray
from psycopg import sql

from pipelines.environment import Environment
from pipelines.monitoring import predictions
from pipelines.monitoring.predictions import Given
from pipelines.project import FeatureType

PART_BYTES = 4 << 20
ARROW_TYPES: dict[FeatureType, pa.DataType] = {
    "category": pa.string(),
    "number": pa.float64(),
    "integer": pa.float64(),
    "boolean": pa.bool_(),
}


class Part(NamedTuple):
    """Some rows: their moments (microseconds since 1970), their columns, and how many values had another type."""

    at: NDArray[np.int64]
    rows: pa.Table
    mistyped: Mapping[str, int]


def count(env: Environment, given: Given) -> int:
    """How many answers there are."""
    with predictions.opened(env) as connection:
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(given.table)).fetchone()
    return int(row[0]) if row else 0


def read(env: Environment, given: Given, kinds: Mapping[str, FeatureType], answer: str) -> Iterator[Part]:
    """The answers and what was asked: the columns of `kinds`, of which `answer` is the answer itself."""
    query = sql.SQL(
        "COPY (SELECT '{{\"at\":' || (extract(epoch FROM created_at) * 1000000)::bigint || ',\"answer\":' || "
        "CASE WHEN {number} THEN answer::text ELSE 'null' END || ',\"features\":' || features || '}}' "
        "FROM {given} ORDER BY created_at) TO STDOUT"
    ).format(number=predictions.IS_NUMBER, given=given.table)
    with predictions.opened(env) as connection, connection.cursor().copy(query) as copy:
        lines: list[bytes] = []
        size = 0
        for line in copy:
            lines.append(bytes(line))
            size += len(lines[-1])
            if size >= PART_BYTES:
                yield parse(lines, kinds, answer)
                lines, size = [], 0
        if lines:
            yield parse(lines, kinds, answer)


def parse(lines: list[bytes], kinds: Mapping[str, FeatureType], answer: str) -> Part:
    """Lines of ``{"at": …, "answer": …, "features": {…}}``, as COPY escapes them, as columns of the types `kinds`.

    A value of another type is taken as missing, and counted.
    """
    # COPY doubles every backslash, which JSON uses for escapes.
    content = b"".join(lines).replace(b"\\\\", b"\\")
    features = {name: ARROW_TYPES[kind] for name, kind in kinds.items() if name != answer}
    schema = pa.schema({"at": pa.int64(), "answer": pa.float64(), "features": pa.struct(list(features.items()))})
    mistyped: Counter[str] = Counter()
    try:
        options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        reading = pj.ReadOptions(use_threads=False, block_size=len(content) + 1)
        table = pj.read_json(io.BytesIO(content), read_options=reading, parse_options=options)
    except pa.ArrowInvalid:
        rows = [json.loads(line) for line in content.splitlines()]
        for row in rows:
            row["features"] = {
                name: _typed(name, row["features"].get(name), kind, mistyped) for name, kind in features.items()
            }
        table = pa.Table.from_pylist(rows, schema=schema)
    table = table.combine_chunks()
    inner = table.column("features").chunk(0)
    columns = {name: inner.field(name) for name in features} | {answer: table.column("answer")}
    return Part(table.column("at").to_numpy(), pa.table(columns), mistyped)


def _typed(name: str, value: Any, kind: pa.DataType, mistyped: Counter[str]) -> Any:
    """`value` if it is of the Arrow type `kind`, else None."""
    if value is None:
        return None
    if pa.types.is_string(kind):
        fits = isinstance(value, str)
    elif pa.types.is_boolean(kind):
        fits = isinstance(value, bool)
    else:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    if not fits:
        mistyped[name] += 1
    return value if fits else None
