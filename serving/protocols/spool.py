"""A large body on its way through a file of its own, so that memory does not grow with it."""

import asyncio
import errno
import shutil
import tempfile
from pathlib import Path
from typing import IO

from serving.errors import RequestError
from serving.http.wire import HttpRequest, too_large

FREE_BYTES = 256 * 1024 * 1024
"""Left free on the disk for what must go on being written there: the journal."""
_PIECE_BYTES = 1024 * 1024
_LOOK_EVERY_BYTES = 64 * 1024 * 1024


async def spool(request: HttpRequest, directory: Path, max_bytes: int) -> IO[bytes]:
    """Write the body of `request` to a file without a name, which is gone when it is closed, and return it.

    Raises:
        RequestError: 413, the body is larger than `max_bytes`; 400, it is empty or ended too early; 503, the disk has
            no room for it.
    """
    declared = request.header("content-length")
    expected = int(declared) if declared.isdigit() else 0
    if expected > max_bytes:
        raise too_large(max_bytes)
    file = await asyncio.to_thread(_create, directory, expected)
    try:
        size = await _write(request, file, directory, max_bytes)
    except OSError as exc:
        file.close()
        raise _no_room() if exc.errno in (errno.ENOSPC, errno.EDQUOT) else exc from exc
    except BaseException:
        file.close()
        raise
    if not size:
        file.close()
        raise RequestError(400, "the body is empty")
    return file


async def _write(request: HttpRequest, file: IO[bytes], directory: Path, max_bytes: int) -> int:
    size = written = looked = 0
    pieces: list[bytes] = []
    async for chunk in request.chunks():
        size += len(chunk)
        if size > max_bytes:
            raise too_large(max_bytes)
        pieces.append(chunk)
        if size - written >= _PIECE_BYTES:
            await asyncio.to_thread(file.write, b"".join(pieces))
            pieces, written = [], size
        if written - looked >= _LOOK_EVERY_BYTES:
            looked = written
            await asyncio.to_thread(_check_room, directory, 0)
    await asyncio.to_thread(_finish, file, b"".join(pieces))
    return size


def _create(directory: Path, expected: int) -> IO[bytes]:
    directory.mkdir(parents=True, exist_ok=True)
    _check_room(directory, expected)
    return tempfile.TemporaryFile(dir=directory)


def _finish(file: IO[bytes], last: bytes) -> None:
    file.write(last)
    file.flush()


def _check_room(directory: Path, expected: int) -> None:
    if shutil.disk_usage(directory).free < expected + FREE_BYTES:
        raise _no_room()


def _no_room() -> RequestError:
    return RequestError(
        503, "the disk of the model server has no room for this body; send less at a time, or make room on it"
    )
