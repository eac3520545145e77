"""The file of the keys that were made while the server ran; all worker processes share it."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.keys.key import Key, StoredKey

Stamp = tuple[int, int, int]


class KeyFileError(Exception):
    """The file cannot be read or written; the message says why and what to do."""


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    keys: list[StoredKey]


class KeyFile:
    """A JSON file that is replaced as a whole and never changed in place. A missing one has no keys."""

    def __init__(self, path: Path) -> None:
        """Take the file's place; nothing is read or made yet."""
        self.path = path

    def stamp(self) -> Stamp | None:
        """Return what differs whenever the content does; None without a file.

        Raises:
            KeyFileError: the file cannot be looked at.
        """
        try:
            return _stamp(self.path.stat())
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise KeyFileError(f"{self.path} cannot be read: {exc.strerror}") from exc

    def read(self) -> tuple[Stamp | None, list[Key]]:
        """Return the keys, and the stamp of the content that they are from.

        Raises:
            KeyFileError: the file cannot be read, or it is not what this class writes.
        """
        try:
            with self.path.open("rb") as file:
                stamp, content = _stamp(os.fstat(file.fileno())), file.read()
            return stamp, [stored.key() for stored in _Content.model_validate_json(content).keys]
        except FileNotFoundError:
            return None, []
        except OSError as exc:
            raise KeyFileError(f"{self.path} cannot be read: {exc.strerror}") from exc
        except ValidationError as exc:
            finding = exc.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, finding["loc"])) or "the file"
            raise KeyFileError(
                f"{self.path} is not a file of keys ({where}: {finding['msg']}); "
                "put a good copy in its place, or delete it, which revokes every key in it"
            ) from exc

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from changing the file for as long as the block runs.

        Raises:
            KeyFileError: the directory cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise KeyFileError(f"{self.path} cannot be written: {exc.strerror}") from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def write(self, keys: Iterable[Key]) -> None:
        """Replace the content; it is on the disk, for the owner's eyes alone, when this returns. Call it `locked`.

        Raises:
            KeyFileError: it cannot be written; the old content stands.
        """
        content = _Content(keys=[StoredKey.of(key) for key in keys]).model_dump_json(indent=1).encode()
        scratch = self.path.with_name(self.path.name + ".new")
        before = self.stamp()
        try:
            scratch.unlink(missing_ok=True)
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                # A file system reuses inode numbers and its clock ticks every few milliseconds, so two contents could
                # bear one stamp, and a process that missed the change would go on trusting a key that was revoked.
                moment = max(time.time_ns(), before[0] + 1 if before else 0)
                os.utime(file.fileno(), ns=(moment, moment))
                os.fsync(file.fileno())
            scratch.replace(self.path)
            _sync_directory(self.path.parent)
        except OSError as exc:
            raise KeyFileError(f"{self.path} cannot be written: {exc.strerror}") from exc


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_mtime_ns, status.st_ino, status.st_size


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
