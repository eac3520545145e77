"""Answers as an Arrow stream, an Arrow file or a Parquet file, made piece by piece."""

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from serving.models.model import ServedModel
from serving.plane.plane import Answer
from serving.protocols.columnar.reading import Format

BROKEN_STREAM = b"\xff\xff\xff\xff\x08\0\0\0"
"""Announces a message that does not follow: a reader of what came so far fails, where at a mere end it would not."""
_ROW_GROUP_CHUNKS = 8


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._position += len(self._parts[-1])
        return len(self._parts[-1])

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class AnswerWriter:
    """Writes answers of one version; each call returns the bytes to send next."""

    def __init__(self, form: Format, model: ServedModel, rows: int, *, with_key: bool, first: Answer | None) -> None:
        """Begin.

        Args:
            form: of the answer.
            model: that all answers come from.
            rows: how many there will be.
            with_key: whether there is a column of entity keys.
            first: tells the type of a prediction; None if there are no rows.
        """
        self._key = model.entity_key if with_key else None
        self._schema = _schema(model, rows, self._key, first)
        self._form = form
        self._sink = _Sink()
        target = pa.PythonFile(self._sink, mode="w")
        self._waiting: list[pa.RecordBatch] = []
        self._writer: Any
        if form is Format.PARQUET:
            self._writer = pq.ParquetWriter(target, self._schema)
        elif form is Format.FILE:
            self._writer = pa.ipc.new_file(target, self._schema)
        else:
            self._writer = pa.ipc.new_stream(target, self._schema)

    def add(self, answer: Answer) -> bytes:
        """Write one answer.

        Raises:
            ArrowInvalid: a prediction is of another type than the first one was.
        """
        scores = answer.scores
        columns: list[Sequence[Any]] = [answer.ids.texts()]
        if self._key is not None:
            columns.append(answer.rows.entity_keys)
        columns.append(scores.predictions)
        columns.append(scores.probabilities or [None] * answer.rows.count)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._waiting.append(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        if self._form is not Format.PARQUET or len(self._waiting) == _ROW_GROUP_CHUNKS:
            self._write()
        return self._sink.take()

    def finish(self) -> bytes:
        """Write the end."""
        self._write()
        self._writer.close()
        return self._sink.take()

    def _write(self) -> None:
        if self._form is Format.PARQUET and self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting).combine_chunks())
        elif self._waiting:
            self._writer.write_batch(self._waiting[0])
        self._waiting.clear()


def _schema(model: ServedModel, rows: int, key: str | None, first: Answer | None) -> pa.Schema:
    known = first.scores.predictions if first is not None else model.classes
    fields = [pa.field("prediction_id", pa.string(), nullable=False)]
    if key is not None:
        fields.append(pa.field(key, pa.string()))
    fields.append(pa.field("prediction", pa.array(known).type if known else pa.float64()))
    fields.append(pa.field("probability", pa.float64()))
    about = {"model": model.name, "version": str(model.version), "role": model.role, "rows": str(rows)}
    return pa.schema(fields, metadata=about)
