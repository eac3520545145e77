"""The journal's files: `worker-<k>/<sequence>.log`, each written by one process only, and locked while it may be.

A process claims a worker directory by a lock in it, and never writes into a segment that an earlier one has left.
"""

import fcntl
import os
import time
from pathlib import Path

_PATTERN = "worker-*/*.log"
_UNFINISHED = ".new"


class Segment:
    """One file, open for appending. Its lock tells everybody that more may come."""

    __slots__ = ("created", "failed", "fd", "limit", "path", "size")

    def __init__(self, path: Path, fd: int, limit: int) -> None:
        """Take an empty file."""
        self.path = path
        self.fd = fd
        self.limit = limit
        """Size from which another one should be written to."""
        self.size = 0
        self.failed = False
        """Whether the disk lost some of it, or left half a line at its end: nothing more may be written."""
        self.created = time.monotonic()

    @classmethod
    def create(cls, directory: Path, limit: int) -> "Segment":
        """Make the next segment of a worker directory, durably.

        It gets its name only when it is locked, so that no reader takes it for one that its writer has left.

        Raises:
            OSError: the disk is full, or fails.
        """
        newest = max((int(path.stem) for path in directory.glob("*.log") if path.stem.isdigit()), default=0)
        path = directory / f"{max(time.time_ns(), newest + 1):020d}.log"
        unfinished = path.with_suffix(_UNFINISHED)
        fd = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            unfinished.rename(path)
            sync_directory(directory)
        except OSError:
            os.close(fd)
            unfinished.unlink(missing_ok=True)
            raise
        return cls(path, fd, limit)

    def append(self, data: bytes) -> None:
        """Write all of `data`, or leave the file as it was.

        Raises:
            OSError: the disk is full, or fails.
        """
        try:
            written = os.write(self.fd, data)
            while written < len(data):
                written += os.write(self.fd, data[written:])
        except OSError:
            self._restore()
            raise
        self.size += len(data)

    def _restore(self) -> None:
        """Cut off what a failed write has left behind."""
        try:
            os.ftruncate(self.fd, self.size)
        except OSError:
            self._fail()

    def sync(self) -> None:
        """Wait until all that was written is on the disk.

        Raises:
            OSError: the disk lost some of it, now or before: the kernel tells of a failed write only once.
        """
        if self.failed:
            raise OSError("a write to it failed before")
        try:
            os.fdatasync(self.fd)
        except OSError:
            self._fail()
            raise

    def _fail(self) -> None:
        self.failed = True
        self.limit = 0

    def close(self) -> None:
        """Let go of it: nothing more comes."""
        os.close(self.fd)


def claim_worker(journal: Path) -> tuple[Path, int]:
    """Take a worker directory that no living process has; return it and the file that holds the lock.

    Raises:
        OSError: the journal's directory cannot be written.
    """
    journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = 0
    while True:
        directory = journal / f"worker-{number}"
        directory.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            number += 1
            continue
        for unfinished in directory.glob(f"*{_UNFINISHED}"):
            unfinished.unlink(missing_ok=True)
        sync_directory(journal)
        return directory, lock


def segment_files(journal: Path) -> list[Path]:
    """Return all segments: worker by worker, oldest first."""
    return sorted(journal.glob(_PATTERN))


def is_closed(fd: int) -> bool:
    """Whether the writer of a segment is done with it, or dead."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def bytes_on_disk(journal: Path) -> int:
    """Return how much all segments take."""
    total = 0
    for path in journal.glob(_PATTERN):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # shipped in the meantime
            continue
    return total


def sync_directory(directory: Path) -> None:
    """Make new and renamed files of a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
