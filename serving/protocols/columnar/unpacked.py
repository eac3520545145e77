"""How much memory the messages of an Arrow stream take once they are unpacked, read from their headers alone.

The header of a message is a flatbuffer (Message.fbs of the Arrow format). A compressed buffer begins with its unpacked
length in 8 bytes, which the reader allocates before it looks at the content: a body of kilobytes can ask for terabytes.
"""

import struct
from collections.abc import Callable

import pyarrow as pa

from serving.errors import RequestError

MAX_UNPACKED_BYTES = 64 * 1024 * 1024
"""Of one compressed record batch or dictionary; what is not compressed is read in place."""

_RELEASE_EVERY = 8
_U16, _U32, _I32, _I64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<q")
_BUFFER = struct.Struct("<qq")
_MESSAGE_HEADER, _DICTIONARY_DATA, _BATCH_BUFFERS, _BATCH_COMPRESSION = 2, 1, 2, 3


def check_unpacked(stream: pa.Buffer, release: Callable[[], None]) -> None:
    """Refuse an Arrow stream with a compressed message that is larger than `MAX_UNPACKED_BYTES` when unpacked.

    Args:
        stream: the messages.
        release: called now and then, to give back what was read.

    Raises:
        RequestError: 413.
        ArrowInvalid, struct.error: it is no Arrow stream.
    """
    reader = pa.ipc.MessageReader.open_stream(pa.BufferReader(stream))
    number = 0
    for message in reader:
        if message.type not in ("record batch", "dictionary"):
            continue
        size = _unpacked_bytes(message)
        if size > MAX_UNPACKED_BYTES:
            raise RequestError(
                413,
                f"message {number} of the Arrow body (a {message.type}) unpacks to {size} bytes, at most "
                f"{MAX_UNPACKED_BYTES} are taken; write smaller record batches (pyarrow: max_chunksize), "
                "or do not compress",
            )
        number += 1
        if number % _RELEASE_EVERY == 0:
            release()


def _unpacked_bytes(message: pa.ipc.Message) -> int:
    data = memoryview(message.metadata)
    header = _follow(data, _slot(data, _U32.unpack_from(data)[0], _MESSAGE_HEADER))
    if message.type == "dictionary":
        header = _follow(data, _slot(data, header, _DICTIONARY_DATA))
    if not _slot(data, header, _BATCH_COMPRESSION):
        return 0
    buffers = _follow(data, _slot(data, header, _BATCH_BUFFERS))
    body = memoryview(message.body)
    total = 0
    for number in range(_U32.unpack_from(data, buffers)[0]):
        offset, length = _BUFFER.unpack_from(data, buffers + _U32.size + number * _BUFFER.size)
        if length:
            # -1 stands for a buffer that compression would have made larger, so it is stored as it is
            total += max(_I64.unpack_from(body, offset)[0], 0)
    return total


def _slot(data: memoryview, table: int, field: int) -> int:
    """Return where a field of a flatbuffer's table is, or 0 if the table does not have it."""
    vtable = table - _I32.unpack_from(data, table)[0]
    entry = 2 * _U16.size + field * _U16.size
    if entry >= _U16.unpack_from(data, vtable)[0]:
        return 0
    offset: int = _U16.unpack_from(data, vtable + entry)[0]
    return table + offset if offset else 0


def _follow(data: memoryview, place: int) -> int:
    """Return the place that the offset at `place` leads to."""
    return place + int(_U32.unpack_from(data, place)[0])
