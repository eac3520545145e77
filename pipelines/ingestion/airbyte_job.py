"""The declaration of a connection in the words of the Airbyte protocol: connector configuration and catalog."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.environment import Environment
from pipelines.ingestion.connections import CURSOR, Connection, Stream
from pipelines.ingestion.ledger import LandingFile

CONNECTOR = "source-s3"
CONNECTOR_MODULE = "source_s3.run"
# JSON has no time; dbt's staging models cast these.
_JSON_TYPES = {"timestamp": "string", "date": "string"}
FILE_COLUMNS = (CURSOR, "_ab_source_file_url")


def airbyte_job(
    env: Environment, connection: Connection, files: Sequence[LandingFile], scratch: Path
) -> dict[str, Any]:
    """The job of ``airbyte_runner`` that reads exactly `files`. It holds secrets: it is handed over, never written."""
    streams = [stream for stream in connection.streams if any(file.stream == stream.name for file in files)]
    target = connection.destination.configuration
    return {
        "name": connection.name,
        "connector": {
            "python": str(env.envs_dir / CONNECTOR / "bin" / "python"),
            "module": CONNECTOR_MODULE,
        },
        "config": source_configuration(connection, streams, files),
        "catalog": {"streams": [catalog_stream(stream) for stream in streams]},
        "streams": [stream.name for stream in streams],
        "cache": {
            "host": target.host,
            "port": target.port,
            "database": target.database,
            "username": target.username,
            "password": target.password.get_secret_value(),
            "schema_name": target.schema_,
            "cache_dir": str(scratch / "cache"),
        },
    }


def source_configuration(
    connection: Connection, streams: Sequence[Stream], files: Sequence[LandingFile]
) -> dict[str, Any]:
    """The configuration of source-s3. Its globs are the inspected keys: a file that arrives meanwhile is not read."""
    source = connection.source.configuration
    return {
        "bucket": source.bucket,
        "endpoint": source.endpoint,
        "region_name": source.region_name,
        "aws_access_key_id": source.aws_access_key_id.get_secret_value(),
        "aws_secret_access_key": source.aws_secret_access_key.get_secret_value(),
        "streams": [
            {
                "name": stream.name,
                "globs": [file.key for file in files if file.stream == stream.name],
                "format": connection.source_stream(stream).format.model_dump(),
                "input_schema": json.dumps({name: _json_type(kind) for name, kind in stream.columns.items()}),
            }
            for stream in streams
        ],
    }


def catalog_stream(stream: Stream) -> dict[str, Any]:
    """What source-s3 would discover for `stream`, with its declared primary key."""
    columns = {name: {"type": ["null", _json_type(kind)]} for name, kind in stream.columns.items()}
    return {
        "name": stream.name,
        "json_schema": {
            "type": "object",
            "properties": {**columns, **{name: {"type": "string"} for name in FILE_COLUMNS}},
        },
        "supported_sync_modes": ["full_refresh", "incremental"],
        "source_defined_cursor": True,
        "default_cursor_field": [stream.cursor_field],
        "source_defined_primary_key": [[name] for name in stream.primary_key],
    }


def _json_type(kind: str) -> str:
    return _JSON_TYPES.get(kind, kind)
