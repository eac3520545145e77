"""Step `snapshot`: the mart's labelled rows, frozen as a Parquet file that is named by its own digest.

The rows are ordered and typed, so the same rows always make the same file: a training can be repeated exactly.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from psycopg import sql

from pipelines import objects
from pipelines.data import mart
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.progress import say, stage
from pipelines.project import FeatureType, Project, Task
from pipelines.warehouse import connect

ARROW_TYPES: dict[FeatureType, pa.DataType] = {
    "category": pa.string(),
    "number": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
}
TARGET_TYPES: dict[Task, pa.DataType] = {"classification": pa.int64(), "regression": pa.float64()}


def run(env: Environment, project: Project) -> dict[str, Any]:
    """Write the snapshot; the same rows give the same `uri` and write nothing again.

    Returns `uri`, `digest` (sha256 of the file, 64 hex characters), `rows`, `from` and `to` (event times, ISO).
    """
    with tempfile.TemporaryDirectory() as scratch:
        text, file = Path(scratch, "rows.csv"), Path(scratch, "rows.parquet")
        with stage("read the mart"):
            _copy_rows(env, project, text)
        rows, first, last = write_parquet(text, file, project)
        if not rows:
            raise StepError(
                f"{project.data.table} has no row whose {project.data.target} is known",
                where="warehouse",
                do="load data whose outcome is known, or correct data.target",
            )
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        key = f"{project.name}/{digest}.parquet"
        uri = f"s3://{env.snapshots_bucket}/{key}"
        with objects.s3_errors(uri):
            s3 = objects.client(env)
            if not objects.exists(s3, env.snapshots_bucket, key):
                s3.upload_file(str(file), env.snapshots_bucket, key)
    say(f"  snapshot of {rows} rows: {uri}")
    return {"uri": uri, "digest": digest, "rows": rows, "from": first, "to": last}


def schema(project: Project) -> pa.Schema:
    """The columns of a snapshot and their types."""
    data = project.data
    fields = [
        (data.entity_key, pa.string()),
        (data.event_time, pa.timestamp("us")),
        (data.target, TARGET_TYPES[project.task]),
    ]
    return pa.schema(fields + [(name, ARROW_TYPES[kind]) for name, kind in data.features.items()])


def write_parquet(text: Path, file: Path, project: Project) -> tuple[int, str, str]:
    """Turn the CSV `text` into the Parquet `file`, in flat memory; (rows, first event time, last event time)."""
    wanted = schema(project)
    options = pv.ConvertOptions(
        column_types=wanted,
        null_values=[""],
        true_values=["t"],
        false_values=["f"],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    rows, first, last = 0, "", ""
    with pv.open_csv(text, convert_options=options) as reader, pq.ParquetWriter(file, wanted) as writer:
        for batch in reader:
            writer.write_batch(batch)
            if batch.num_rows:
                times = pc.min_max(batch.column(project.data.event_time))
                first = first or str(times["min"].as_py().isoformat())
                last = str(times["max"].as_py().isoformat())
            rows += batch.num_rows
    return rows, first, last


def _copy_rows(env: Environment, project: Project, text: Path) -> None:
    """Copy the labelled rows as CSV to the file `text`, ordered by event time and entity key."""
    data = project.data
    query = sql.SQL(
        "COPY (SELECT {columns} FROM {table} WHERE {target} IS NOT NULL AND {time} IS NOT NULL "
        'ORDER BY {time}, {key}::text COLLATE "C") TO STDOUT (FORMAT csv, HEADER)'
    ).format(
        columns=mart.columns(project),
        table=mart.table(project),
        target=sql.Identifier(data.target),
        time=sql.Identifier(data.event_time),
        key=sql.Identifier(data.entity_key),
    )
    with connect(env) as connection:
        mart.check_columns(connection, project)
        try:
            with text.open("wb") as file, connection.cursor().copy(query) as copy:
                for block in copy:
                    file.write(block)
        except psycopg.errors.DataError as error:
            raise StepError(
                f"a value does not have its declared type: {error.diag.message_primary}",
                where=data.table,
                do=f"correct the types in {project.file}, or the mart",
            ) from error
