"""What is in the landing bucket, and what of it was accepted and loaded: ``_landing_files`` beside the raw tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection as Database
from psycopg import sql

from pipelines.ingestion.connections import Connection
from pipelines.objects import s3_errors

TABLE = "_landing_files"


@dataclass(frozen=True)
class LandingFile:
    """An object of the landing bucket that a stream of the connection reads."""

    stream: str
    key: str
    etag: str
    modified: datetime


@dataclass(frozen=True)
class Entry:
    """A file that was accepted: what it was then, and when it was loaded."""

    etag: str
    rows: int
    synced_at: datetime | None


def landing_files(s3: Any, connection: Connection) -> list[LandingFile]:
    """The files of all streams of `connection`, by stream and key."""
    bucket = connection.source.configuration.bucket
    found: list[LandingFile] = []
    for stream in connection.streams:
        source = connection.source_stream(stream)
        with s3_errors(f"s3://{bucket}"):
            for prefix in sorted({_prefix(glob) for glob in source.globs}):
                pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
                found += [
                    LandingFile(stream.name, item["Key"], item["ETag"].strip('"'), item["LastModified"])
                    for page in pages
                    for item in page.get("Contents", [])
                    if source.reads(item["Key"])
                ]
    return list(dict.fromkeys(found))


def entries(database: Database[Any], connection: Connection) -> dict[str, Entry]:
    """The ledger of `connection` by key; empty before the first file was accepted."""
    table = _table(connection)
    exists = database.execute("SELECT to_regclass(%s)", (f"{connection.schema}.{TABLE}",)).fetchone()
    if not exists or exists[0] is None:
        return {}
    query = sql.SQL("SELECT key, etag, rows, synced_at FROM {} WHERE connection = %s").format(table)
    return {key: Entry(*rest) for key, *rest in database.execute(query, (connection.name,))}


def accept(database: Database[Any], connection: Connection, files: Iterable[tuple[LandingFile, int]]) -> None:
    """Record files (with their number of rows) as accepted and not yet loaded."""
    database.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(connection.schema)))
    database.execute(
        sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (connection text, stream text NOT NULL, key text, etag text NOT NULL,"
            " rows bigint NOT NULL, checked_at timestamptz NOT NULL DEFAULT now(), synced_at timestamptz,"
            " PRIMARY KEY (connection, key))"
        ).format(_table(connection))
    )
    statement = sql.SQL(
        "INSERT INTO {} (connection, stream, key, etag, rows) VALUES (%s, %s, %s, %s, %s)"
        " ON CONFLICT (connection, key) DO UPDATE SET stream = excluded.stream, etag = excluded.etag,"
        " rows = excluded.rows, checked_at = now(), synced_at = NULL"
    ).format(_table(connection))
    with database.cursor() as cursor:
        cursor.executemany(
            statement, [(connection.name, file.stream, file.key, file.etag, rows) for file, rows in files]
        )


def mark_synced(database: Database[Any], connection: Connection, files: Iterable[LandingFile]) -> None:
    """Record that the accepted files are in the raw tables."""
    statement = sql.SQL("UPDATE {} SET synced_at = now() WHERE connection = %s AND key = %s AND etag = %s")
    with database.cursor() as cursor:
        cursor.executemany(
            statement.format(_table(connection)), [(connection.name, file.key, file.etag) for file in files]
        )


def _table(connection: Connection) -> sql.Identifier:
    return sql.Identifier(connection.schema, TABLE)


def _prefix(glob: str) -> str:
    """The part of `glob` before its first wildcard."""
    return glob[: min((glob.find(mark) for mark in "*?[" if mark in glob), default=len(glob))]
