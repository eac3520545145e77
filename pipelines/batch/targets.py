"""Handing the scores over: all of them at once, into a table or as a file, and only where nothing else is lost."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import psycopg
import pyarrow.csv as pv
import pyarrow.parquet as pq
from psycopg import sql

from pipelines.batch import ledger
from pipelines.batch.ledger import Connection, Entry
from pipelines.batch.parts import Job, output_schema
from pipelines.batch.places import File, Place, Table
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.warehouse import connect

_HASH_BYTES = 1 << 20


def check(env: Environment, target: Place, project: str) -> None:
    """Refuse, before anything is computed, a target that cannot be written or that holds something else."""
    with connect(env) as connection:
        ledger.prepare(connection)
        if isinstance(target, Table):
            if _exists(connection, target):
                ledger.check_owner(connection, target.name, project)
            else:
                _check_privilege(connection, target)
        elif not target.path.parent.is_dir():
            raise StepError("there is no such directory", where=str(target.path.parent), do="make it, or correct --to")
        elif target.path.exists():
            ledger.check_owner(connection, target.name, project)
            if _digest(target.path) not in ledger.digests_of(connection, target.name).values():
                raise StepError(
                    "it was changed after `platform score` made it",
                    where=target.name,
                    do="remove it, or choose another",
                )


def delivered(env: Environment, target: Place, job: str) -> int | None:
    """How many scores of the job `job` the target holds, if it has them all; else None."""
    with connect(env) as connection:
        rows = ledger.rows_of(connection, job)
        if rows is None:
            return None
        if isinstance(target, File):
            made = ledger.digests_of(connection, target.name).get(job)
            return rows if target.path.exists() and _digest(target.path) == made else None
        if not _exists(connection, target):
            return None
        query = sql.SQL("SELECT count(*) FROM {} WHERE job = %s").format(sql.Identifier(*target.parts))
        (count,) = connection.execute(query, (job,)).fetchone() or (0,)
        return rows if count == rows else None


def deliver(env: Environment, target: Place, job: Job, entry: Entry) -> None:
    """Write the scores of all parts, and the row of the ledger: whole, or not at all."""
    if isinstance(target, File):
        _to_file(env, target.path, job, entry)
        return
    try:
        with connect(env) as connection:
            _to_table(connection, target, job, entry)
    except psycopg.Error as error:
        raise StepError(
            f"the scores cannot be written: {error.diag.message_primary or error}",
            where=target.name,
            do="nothing of it was changed; correct the cause and start again: what is computed is kept",
        ) from error


def _to_table(connection: Connection, target: Table, job: Job, entry: Entry) -> None:
    """Add the scores in one transaction; those of the same entity and version are replaced."""
    name = sql.Identifier(*target.parts)
    kinds = {"int64": "bigint", "double": "double precision"}
    prediction = kinds[str(output_schema(job.scorer).field("prediction").type)]
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(target.parts[0])))
    connection.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (entity_key text, prediction {} NOT NULL, probability double precision, "
            "model_version integer, scored_at timestamptz NOT NULL, job text NOT NULL, "
            "PRIMARY KEY (entity_key, model_version))"
        ).format(name, sql.SQL(prediction))
    )
    columns = sql.SQL(", ").join(map(sql.Identifier, output_schema(job.scorer).names))
    connection.execute(
        sql.SQL("CREATE TEMP TABLE scores ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(columns, name)
    )
    options = pv.WriteOptions(include_header=False)
    with connection.cursor().copy(sql.SQL("COPY scores ({}) FROM STDIN (FORMAT csv)").format(columns)) as copy:
        for part in job.scores():
            text = io.BytesIO()
            pv.write_csv(part, text, options)
            copy.write(text.getbuffer())
    _check_unique(connection, job, target)
    connection.execute(
        sql.SQL(
            "INSERT INTO {name} ({columns}, job) SELECT {columns}, %s FROM scores "
            "ON CONFLICT (entity_key, model_version) DO UPDATE SET prediction = excluded.prediction, "
            "probability = excluded.probability, scored_at = excluded.scored_at, job = excluded.job"
        ).format(name=name, columns=columns),
        (entry.id,),
    )
    ledger.write(connection, entry)


def _check_unique(connection: Connection, job: Job, target: Table) -> None:
    query = "SELECT entity_key, count(*) FROM scores GROUP BY 1 HAVING count(*) > 1 LIMIT 1"
    twice = connection.execute(query).fetchone()
    if twice:
        raise StepError(
            f"the {job.scorer.entity_key} {twice[0]} occurs {twice[1]} times in the source",
            where=target.name,
            do="a table holds one score for an entity and version: give a source with one row for each",
        )


def _to_file(env: Environment, path: Path, job: Job, entry: Entry) -> None:
    """Write the file beside its place, note its digest, and move it there: a crash leaves the old one or the new."""
    scratch = path.with_name(f".{path.name}.{entry.id}")
    columns = output_schema(job.scorer)
    try:
        with scratch.open("wb") as opened:
            if path.suffix == ".csv":
                with pv.CSVWriter(opened, columns) as text:
                    for part in job.scores():
                        text.write_table(part)
            else:
                told = {"platform.model": entry.project, "platform.version": str(entry.version)}
                with pq.ParquetWriter(opened, columns.with_metadata(told)) as parquet:
                    for part in job.scores():
                        parquet.write_table(part.replace_schema_metadata(told))
            opened.flush()
            os.fsync(opened.fileno())
        with connect(env) as connection:
            ledger.write(connection, replace(entry, output_digest=_digest(scratch)))
        scratch.replace(path)
    except OSError as error:
        raise StepError(f"it cannot be written: {error.strerror}", where=str(path), do="correct --to") from error
    finally:
        scratch.unlink(missing_ok=True)


def _exists(connection: Connection, target: Table) -> bool:
    query = "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
    return connection.execute(query, target.parts).fetchone() is not None


def _check_privilege(connection: Connection, target: Table) -> None:
    """Whether the table can be made."""
    schema = target.parts[0]
    query = (
        "SELECT CASE WHEN to_regnamespace(%(name)s) IS NULL "
        "THEN has_database_privilege(current_database(), 'CREATE') "
        "ELSE has_schema_privilege(%(name)s, 'CREATE') END"
    )
    (may,) = connection.execute(query, {"name": schema}).fetchone() or (False,)
    if not may:
        raise StepError(
            f"no table may be made in the schema {schema}", where=target.name, do="choose another schema for --to"
        )


def _digest(path: Path) -> str:
    """The sha256 (64 hex characters) of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while block := opened.read(_HASH_BYTES):
            digest.update(block)
    return digest.hexdigest()
