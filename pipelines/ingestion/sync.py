"""Step ``sync``: load the accepted files into the raw tables by PyAirbyte, merged by primary key."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection as Database
from psycopg import sql

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.ingestion.airbyte_job import CONNECTOR, airbyte_job
from pipelines.ingestion.airbyte_process import run_airbyte
from pipelines.ingestion.connections import Connection, project_connections
from pipelines.ingestion.ledger import Entry, LandingFile, entries, landing_files, mark_synced
from pipelines.lineage.store import record_sync
from pipelines.objects import client
from pipelines.progress import say
from pipelines.project import Project
from pipelines.warehouse import connect

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
# What PyAirbyte appends to a stream's name for the table that it fills before it merges: nine characters of a ULID.
LEFTOVER = "^{stream}_[0-9a-hjkmnp-tv-z]{{9}}$"


def run(env: Environment, project: Project, check_source: bool = False) -> dict[str, Any]:
    """Sync the connections of `project`; without a new file the connector is not even started.

    `check_source` starts it nevertheless, for all streams: its own state then decides what is new. Returns
    ``{"streams": {name: {"read": rows, "total": rows}}, "tables": {"schema.name": rows read}, "files": [addresses of
    what was loaded], "seconds": s}``.
    """
    start = time.perf_counter()
    streams: dict[str, dict[str, int]] = {}
    tables: dict[str, int] = {}
    loaded: list[str] = []
    for connection in project_connections(env, project):
        read, files = _sync(env, project, connection, check_source)
        tables |= {f"{connection.schema}.{name}": rows for name, rows in read.items()}
        loaded += files
        with connect(env) as database:
            for stream in connection.streams:
                total = _count(database, connection, stream.name)
                streams[stream.name] = {"read": read.get(stream.name, 0), "total": total}
    empty = [name for name, counts in streams.items() if not counts["total"]]
    if empty:
        raise StepError(
            f"nothing has landed yet for {', '.join(empty)}",
            where=f"s3://{env.landing_bucket}",
            do=f"put files there (the sample's: `platform run {project.name} land --months 1-3`)",
        )
    for name, counts in streams.items():
        say(f"  raw.{name}: {counts['read']} rows read, {counts['total']} in the table")
    return {"streams": streams, "tables": tables, "files": loaded, "seconds": round(time.perf_counter() - start, 1)}


def _sync(
    env: Environment, project: Project, connection: Connection, check_source: bool
) -> tuple[dict[str, int], list[str]]:
    """Sync one connection; the number of rows read by stream, and the addresses of the files."""
    files = landing_files(client(env), connection)
    with connect(env) as database:
        ledger = entries(database, connection)
        _drop_leftovers(database, connection)
    _refuse_unchecked(project, connection, files, ledger)
    pending = [file for file in files if ledger[file.key].synced_at is None]
    if not pending and not check_source:
        say(f"  {connection.name}: no new file")
        return {}, []
    wanted = files if check_source else pending
    scratch = env.state_dir / "airbyte" / connection.name
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    say(f"  {connection.name}: syncing {len(wanted)} files")
    began = datetime.now(UTC)
    result = run_airbyte(env, airbyte_job(env, connection, wanted, scratch), scratch)
    read = {name: counts["read"] for name, counts in result.items()}
    with connect(env) as database:
        _check_arrived(database, connection, pending, ledger, result)
        mark_synced(database, connection, pending)
        record_sync(
            database,
            env,
            project.name,
            {
                "connection": connection.name,
                "connector": f"{CONNECTOR} {connection.source.definition_version}",
                "started_at": began,
                "streams": {f"{connection.schema}.{name}": rows for name, rows in read.items()},
                "files": _as_record(connection, wanted, ledger),
            },
        )
    return read, [_address(connection, file) for file in wanted]


def _as_record(connection: Connection, files: Sequence[LandingFile], ledger: dict[str, Entry]) -> list[dict[str, Any]]:
    return [
        {
            "stream": f"{connection.schema}.{file.stream}",
            "uri": _address(connection, file),
            "etag": file.etag,
            "rows": ledger[file.key].rows,
        }
        for file in files
    ]


def _address(connection: Connection, file: LandingFile) -> str:
    return f"s3://{connection.source.configuration.bucket}/{file.key}"


def _refuse_unchecked(
    project: Project, connection: Connection, files: Sequence[LandingFile], ledger: dict[str, Entry]
) -> None:
    unchecked = [file.key for file in files if file.key not in ledger or ledger[file.key].etag != file.etag]
    if unchecked:
        raise StepError(
            f"not inspected: {', '.join(unchecked[:3])}{', …' if len(unchecked) > 3 else ''}",
            where=f"s3://{connection.source.configuration.bucket}",
            do=f"start `inspect {project.name}` first, or `ingest {project.name}`, which does both",
        )


def _check_arrived(
    database: Database[Any],
    connection: Connection,
    pending: Sequence[LandingFile],
    ledger: dict[str, Entry],
    result: dict[str, Any],
) -> None:
    """Every row of the new files is in its raw table; a sync that only says so is not believed."""
    for name in sorted({file.stream for file in pending}):
        files = [file for file in pending if file.stream == name]
        expected = sum(ledger[file.key].rows for file in files)
        query = sql.SQL(
            "SELECT count(*) FROM {} AS raw JOIN unnest(%s::text[], %s::text[]) AS file (key, modified)"
            " ON raw._ab_source_file_url = file.key AND raw._ab_source_file_last_modified = file.modified"
        ).format(sql.Identifier(connection.schema, name))
        keys, times = [file.key for file in files], [file.modified.strftime(TIME_FORMAT) for file in files]
        row = database.execute(query, (keys, times)).fetchone()
        arrived = (row[0] if row else 0) + result.get(name, {}).get("repeated", 0)
        if arrived < expected:
            raise StepError(
                f"{arrived} of {expected} rows arrived from {', '.join(keys)}",
                where=f"{connection.schema}.{name}",
                do="put the files into the bucket again, then start `ingest`: they are read as new",
            )


def _drop_leftovers(database: Database[Any], connection: Connection) -> None:
    """Remove the scratch tables of a sync that was killed; the lock of the step says that none is running."""
    for stream in connection.streams:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename ~ %s"
        for (table,) in database.execute(query, (connection.schema, LEFTOVER.format(stream=stream.name))).fetchall():
            database.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(connection.schema, table)))


def _count(database: Database[Any], connection: Connection, stream: str) -> int:
    exists = database.execute("SELECT to_regclass(%s)", (f"{connection.schema}.{stream}",)).fetchone()
    if not exists or exists[0] is None:
        return 0
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(connection.schema, stream))
    row = database.execute(query).fetchone()
    return int(row[0]) if row else 0
