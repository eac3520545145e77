"""Reads the streams of a job by PyAirbyte and merges them into the warehouse by COPY."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, ClassVar, NoReturn

from airbyte._executors.base import Executor
from airbyte._processors.sql.postgres import PostgresSqlProcessor
from airbyte._writers.file_writers import FileWriterBase
from airbyte.caches import PostgresCache
from airbyte.exceptions import AirbyteSubprocessFailedError
from airbyte.sources.base import Source
from airbyte_protocol.models import AirbyteCatalog
from uuid_extensions import uuid7str

PROGRESS = "PROGRESS "
PROGRESS_ROWS = 20_000
LAST_MODIFIED = "_ab_source_file_last_modified"

read: Counter[str] = Counter()
repeated: Counter[str] = Counter()


def say(text: str) -> None:
    """Tell the step that started this what is going on."""
    print(f"{PROGRESS}{text}", file=sys.stderr, flush=True)


class WarmConnector(Executor):
    """A connector that was started beforehand, for one command."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        super().__init__(name=name)
        self._process = process

    def execute(self, args: list[str], **_options: Any) -> Iterator[str]:
        """Hand `args` over and yield the lines that the connector writes."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the connector was started without pipes")
        with suppress(BrokenPipeError):  # It died at once; its exit code is told below.
            process.stdin.write(json.dumps(args) + "\n")
            process.stdin.close()
        try:
            yield from process.stdout
            code = process.wait()
        finally:
            process.kill()
        if code:
            raise AirbyteSubprocessFailedError(run_args=args, exit_code=code)

    @property
    def _cli(self) -> list[str]:
        return []

    def ensure_installation(self, *, auto_fix: bool = True) -> None:
        """Nothing to ensure: it runs."""

    def install(self) -> NoReturn:
        """Refused: `platform up` installs connectors."""
        raise RuntimeError("connectors are installed by `platform up`")

    def uninstall(self) -> NoReturn:
        """Refused: `platform up` installs connectors."""
        raise RuntimeError("connectors are installed by `platform up`")


class DeclaredSource(Source):
    """A source whose catalog is declared, which spares two starts of the connector (spec and discover)."""

    def __init__(self, catalog: dict[str, Any], **arguments: Any) -> None:
        self.reason = ""
        self._declared = AirbyteCatalog.model_validate(catalog)
        super().__init__(**arguments)

    def _discover(self) -> AirbyteCatalog:
        return self._declared

    def _peek_airbyte_message(self, message: Any, *, raise_on_error: bool = True) -> None:
        error = message.trace.error if message.trace else None
        if error and not self.reason:
            self.reason = error.internal_message or error.message
        super()._peek_airbyte_message(message, raise_on_error=raise_on_error)


class CopyWriter(FileWriterBase):
    """Buffers the records of a stream in the form that COPY reads; PyAirbyte's own goes through gzip and JSON."""

    default_cache_file_suffix = ".csv"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._rows: dict[str, Any] = {}

    def process_record_message(self, record_msg: Any, stream_record_handler: Any, progress_tracker: Any) -> None:
        """Append one record; an absent or null value becomes an empty field, which COPY takes as NULL."""
        stream = record_msg.stream
        if stream not in self._active_batches:
            handle = self._new_batch(stream, progress_tracker)
            self._rows[stream] = csv.writer(handle.open_file_writer)
        values = map(record_msg.data.get, stream_record_handler.index_keys)
        extracted_at = datetime.fromtimestamp(record_msg.emitted_at / 1000, UTC).isoformat()
        self._rows[stream].writerow((*values, uuid7str(), extracted_at, "{}"))
        self._active_batches[stream].increment_record_count()
        read[stream] += 1
        if read[stream] % PROGRESS_ROWS == 0:
            say(f"{stream}: {read[stream]} rows read")

    def _write_record_dict(self, record_dict: Any, open_file_writer: IO[str]) -> None:
        csv.writer(open_file_writer).writerow(record_dict.values())


class CopyProcessor(PostgresSqlProcessor):
    """Loads by COPY instead of INSERT, and takes a row that came twice in one sync from the newest file."""

    file_writer_class = CopyWriter

    def _write_files_to_new_table(self, files: list[Path], stream_name: str, batch_id: str) -> str:
        name = self._create_table_for_loading(stream_name, batch_id)
        table = self._fully_qualified(name)
        try:
            with self.get_sql_connection() as connection:
                cursor = connection.connection.cursor()
                for path in files:
                    with path.open(encoding="utf-8", newline="") as file:
                        cursor.copy_expert(f"COPY {table} FROM STDIN WITH (FORMAT csv)", file)
                cursor.execute(self._delete_repeated(table, stream_name))
                repeated[stream_name] += cursor.rowcount
                cursor.execute(f"ANALYZE {table}")
        except BaseException:
            self._drop_temp_table(name)
            raise
        say(f"{stream_name}: {read[stream_name]} rows, merging")
        return name

    def _delete_repeated(self, table: str, stream_name: str) -> str:
        keys = [self._quote_identifier(key) for key in self.catalog_provider.get_primary_keys(stream_name)]
        order = f'"{LAST_MODIFIED}" DESC, _airbyte_raw_id DESC'
        return f"""
            DELETE FROM {table} WHERE ctid IN (
                SELECT ctid FROM (
                    SELECT ctid, row_number() OVER (PARTITION BY {", ".join(keys)} ORDER BY {order}) AS place
                    FROM {table}
                ) AS numbered WHERE place > 1
            )"""  # noqa: S608 (names of the declaration, quoted)


class CopyCache(PostgresCache):
    """The warehouse as PyAirbyte's destination."""

    _sql_processor_class: ClassVar[Any] = CopyProcessor


def load(job: dict[str, Any], connector: subprocess.Popen[str]) -> dict[str, Any]:
    """Run the job; a failure is ``{"error": reason}``, in the connector's words where it gave any."""
    source = DeclaredSource(
        job["catalog"],
        executor=WarmConnector(job["name"], connector),
        name=job["name"],
        config=job["config"],
        streams=job["streams"],
    )
    try:
        cache = CopyCache(**job["cache"])
        source.read(cache=cache, skip_validation=True)
    except Exception as error:
        return {"error": " ".join(source.reason.split()) or _reason(error)}
    return {"streams": {name: {"read": read[name], "repeated": repeated[name]} for name in job["streams"]}}


def _reason(error: BaseException) -> str:
    """The innermost cause that says something."""
    cause = getattr(error, "original_exception", None) or error.__cause__
    if isinstance(cause, BaseException):
        return _reason(cause)
    text = str(error).partition("-----")[0]
    code = (getattr(error, "context", None) or {}).get("exit_code")
    return f"{type(error).__name__}: {' '.join(text.split())[:500]}" + (f" Exit code {code}." if code else "")
