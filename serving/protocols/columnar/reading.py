"""Arrow and Parquet bodies as chunks of Python values, in memory that does not grow with the body.

The body lies in a file that is mapped: what Arrow reads in place are pages of the kernel's cache, given back after each
chunk. Of Parquet one page of each column is unpacked at a time.
"""

import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.ipc
import pyarrow.parquet as pq
import pyarrow.types as is_type

from serving.errors import RequestError
from serving.protocols.columnar.types import plain, text_bytes, values
from serving.protocols.columnar.unpacked import check_unpacked

CHUNK_ROWS = 4096
CHUNK_VALUES = 12 * CHUNK_ROWS
"""A chunk of a wide table has fewer rows."""
MAX_TEXT_BYTES = 8 * 1024 * 1024
"""Of a chunk; one row may have as much."""
MAX_ROW_GROUP_BYTES = 1024 * 1024 * 1024
"""Of a Parquet file, unpacked, as its footer says."""
_FILE_MAGIC = b"ARROW1"
_FILE_HEAD_BYTES = 8
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_MAX_SAID = 200
_MALFORMED = (pa.lib.ArrowException, OSError, struct.error, KeyError, UnicodeDecodeError)


class Format(Enum):
    """A columnar format; the value is what messages call it."""

    STREAM = "Arrow stream"
    FILE = "Arrow file"
    PARQUET = "Parquet file"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Columns of `count` Python values each."""

    count: int
    columns: dict[str, list[Any]]


class Body:
    """A columnar body in a file that nobody else can write to."""

    def __init__(self, form: Format, file: IO[bytes]) -> None:
        """Read what the body says about itself.

        Raises:
            RequestError: 400, it is not what it should be; 413, a part is too large to be unpacked.
        """
        self._form = form
        self._file = file
        self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        self._data = pa.py_buffer(self._map)
        with _malformed(form):
            if form is Format.PARQUET:
                self.schema = _open_parquet(self._data).schema_arrow
            else:
                if form is Format.FILE:
                    self._cut_to_stream()
                check_unpacked(self._data, self._release)
                self.schema = _open_stream(pa.BufferReader(self._data)).schema
            self.names: list[str] = self.schema.names

    def chunks(self) -> Iterator[Chunk]:
        """Yield all rows in their order; may be called again.

        Raises:
            RequestError: 400, the body is damaged or incomplete; 413, a row holds too much text.
        """
        limit = max(1, min(CHUNK_ROWS, CHUNK_VALUES // max(1, len(self.names))))
        collected: list[pa.RecordBatch] = []
        rows = text = 0
        for piece, weight in self._pieces(limit):
            if collected and (rows + piece.num_rows > limit or text + weight > MAX_TEXT_BYTES):
                yield _chunk(collected)
                self._release()
                collected, rows, text = [], 0, 0
            collected.append(piece)
            rows += piece.num_rows
            text += weight
        if collected:
            yield _chunk(collected)

    def close(self) -> None:
        """Give back the file, as soon as nothing of it is in use any more."""
        del self._data
        with suppress(BufferError):
            self._map.close()
        self._file.close()

    def _release(self) -> None:
        """Give back the pages that were read; they come again from the kernel's cache if they are needed again."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def _pieces(self, limit: int) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yield parts of at most `limit` rows, each with its bytes of text."""
        first = 0
        with _malformed(self._form):
            for batch in self._parquet_batches(limit) if self._form is Format.PARQUET else self._stream_batches():
                batch.validate()
                for column in batch.columns:
                    if is_type.is_dictionary(column.type):
                        column.validate(full=True)
                for start in range(0, batch.num_rows, limit):
                    yield from _light(batch.slice(start, limit), first + start)
                first += batch.num_rows

    def _stream_batches(self) -> Iterator[pa.RecordBatch]:
        source = pa.BufferReader(self._data)
        yield from _open_stream(source)
        start = source.tell() - len(_END_OF_STREAM)
        if self._data.slice(start, len(_END_OF_STREAM)).to_pybytes() != _END_OF_STREAM:
            raise pa.ArrowInvalid("it has no end-of-stream marker: it was cut off, or its writer was not closed")

    def _parquet_batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        # as a dictionary text takes no more memory than in the file, however often the file repeats it
        text = [field.name for field in self.schema if is_type.is_string(field.type)]
        with _open_parquet(self._data, text) as file:
            yield from file.iter_batches(batch_size=rows, use_threads=False)

    def _cut_to_stream(self) -> None:
        """An Arrow file is a stream with a head and a footer around it."""
        size = self._data.size
        head, tail = self._data.slice(0, len(_FILE_MAGIC)), self._data.slice(max(0, size - len(_FILE_MAGIC)))
        if head.to_pybytes() != _FILE_MAGIC or tail.to_pybytes() != _FILE_MAGIC or size <= _FILE_HEAD_BYTES:
            raise pa.ArrowInvalid("it does not begin and end as one")
        self._data = self._data.slice(_FILE_HEAD_BYTES)


def _open_stream(source: pa.BufferReader) -> pa.RecordBatchStreamReader:
    options = pa.ipc.IpcReadOptions(ensure_alignment=pa.ipc.Alignment.DataTypeSpecific, use_threads=False)
    return pa.ipc.open_stream(source, options=options)


def _open_parquet(data: pa.Buffer, read_dictionary: Sequence[str] = ()) -> pq.ParquetFile:
    file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, read_dictionary=list(read_dictionary))
    for number in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(number).total_byte_size
        if size > MAX_ROW_GROUP_BYTES:
            raise RequestError(
                413,
                f"row group {number} of the Parquet file unpacks to {size} bytes, at most {MAX_ROW_GROUP_BYTES} are "
                "taken; write it with smaller row groups",
            )
    return file


def _light(piece: pa.RecordBatch, row: int) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield `piece`, whose first row is row number `row` of the body, in parts that are not too heavy to unpack."""
    for column in piece.columns:
        if not is_type.is_dictionary(column.type):
            column.validate(full=True)
    text = sum(map(text_bytes, piece.columns))
    if text <= MAX_TEXT_BYTES:
        columns = [plain(column) for column in piece.columns]
        yield (pa.RecordBatch.from_arrays(columns, names=piece.schema.names) if columns else piece), text
        return
    if piece.num_rows == 1:
        raise RequestError(413, f"row {row}: more than {MAX_TEXT_BYTES} bytes of text; send shorter text")
    half = piece.num_rows // 2
    yield from _light(piece.slice(0, half), row)
    yield from _light(piece.slice(half), row + half)


def _chunk(pieces: list[pa.RecordBatch]) -> Chunk:
    if len(pieces) == 1:
        (batch,) = pieces
        return Chunk(batch.num_rows, {name: values(batch.column(name)) for name in batch.schema.names})
    columns = {
        name: [item for piece in pieces for item in values(piece.column(name))] for name in pieces[0].schema.names
    }
    return Chunk(sum(piece.num_rows for piece in pieces), columns)


@contextmanager
def _malformed(form: Format) -> Iterator[None]:
    """Turn what Arrow says about a body into an answer."""
    try:
        yield
    except _MALFORMED as exc:
        said = str(exc).strip().partition("\n")[0][:_MAX_SAID]
        raise RequestError(400, f"the body is not a sound {form.value}: {said}") from exc
