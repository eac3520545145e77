"""What the disk does: slow, failing, full."""

import asyncio
import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.errors import RequestError, SettingsError
from serving.journal import journal as journal_module
from serving.journal.journal import Journal
from serving.journal.segments import segment_files
from serving.journal.tail import read_parts
from tests.serving.fakes import wait_for
from tests.serving.journal.fakes import BIG, answer, fake_metrics, kept, relaxed, running, write, written


class Disk:
    """Records fdatasync, and lets it wait or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[str] = []
        self.asked = 0
        self.free = threading.Event()
        self.free.set()
        self.failures = 0
        self._real = os.fdatasync
        monkeypatch.setattr(os, "fdatasync", self._fdatasync)

    def _fdatasync(self, fd: int) -> None:
        self.asked += 1
        assert self.free.wait(20)
        self.synced.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        self._real(fd)


async def until(condition: Callable[[], bool]) -> None:
    """Wait in the event loop's thread, which the disk's does not need."""
    await asyncio.to_thread(wait_for, condition)


def refusal(journal: Journal, count: int = 1) -> RequestError:
    with pytest.raises(RequestError) as caught:
        write(journal, count)
    return caught.value


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_strict_waits_for_the_disk_and_many_share_one_wait(tmp_path: Path, disk: Disk) -> None:
    async def run() -> None:
        async with running(tmp_path, durability="strict") as journal:
            disk.free.clear()
            write(journal)
            first = asyncio.create_task(journal.durable())
            await until(lambda: disk.asked == 1)
            rest = []
            for _ in range(10):
                write(journal)
                rest.append(asyncio.create_task(journal.durable()))
            _, waiting = await asyncio.wait([first, *rest], timeout=0.05)
            assert len(waiting) == 11
            disk.free.set()
            await asyncio.gather(first, *rest)
            assert len(disk.synced) == 2

    asyncio.run(run())


def test_relaxed_does_not_wait_and_syncs_only_what_was_written(tmp_path: Path, disk: Disk) -> None:
    async def run() -> None:
        async with running(tmp_path) as journal:
            assert not journal.strict
            disk.free.clear()
            write(journal)
            await journal.durable()
            assert not disk.synced
            disk.free.set()
            await until(lambda: len(disk.synced) == 1)
            ticks = wait_ticks(journal)
            await until(lambda: next(ticks) >= 3)
            assert len(disk.synced) == 1

    asyncio.run(run())


def wait_ticks(journal: Journal) -> Iterator[int]:
    """Count how often the disk's thread has gone round since."""
    ticks = 0
    while True:
        journal._wake.set()
        wait_for(lambda: not journal._wake.is_set())
        ticks += 1
        yield ticks


def test_a_new_segment_has_a_durable_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, list[str]]] = []

    def fsync(fd: int) -> None:
        directory = Path(f"/proc/self/fd/{fd}").readlink()
        synced.append((directory.name, sorted(path.name for path in directory.iterdir())))

    monkeypatch.setattr(os, "fsync", fsync)
    written(tmp_path / "journal", answer())
    assert ("journal", ["worker-0"]) in synced
    for path in segment_files(tmp_path / "journal"):
        assert any(name == "worker-0" and path.name in names for name, names in synced)


def test_a_failed_sync_fails_those_who_wait_and_another_segment_takes_over(tmp_path: Path, disk: Disk) -> None:
    async def run() -> None:
        metrics = fake_metrics()
        async with running(tmp_path, durability="strict", metrics=metrics) as journal:
            write(journal)
            await journal.durable()
            disk.failures = 1
            write(journal)
            with pytest.raises(RequestError) as caught:
                await journal.durable()
            assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
            assert metrics.journal_errors._value.get() == 1
            bad = disk.synced[-1]
            # What is in the segment that failed is not called durable by a later sync.
            write(journal)
            with pytest.raises(RequestError):
                await journal.durable()
            write(journal)
            await journal.durable()
            assert disk.synced[-1] != bad

    asyncio.run(run())
    assert len(kept(tmp_path)) == 4


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def used_segment(directory: Path) -> Path:
    (path,) = (path for path in segment_files(directory) if path.stat().st_size)
    return path


def test_a_full_disk_refuses_and_leaves_no_half_line(tmp_path: Path) -> None:
    async def run() -> list[str]:
        metrics = fake_metrics()
        async with running(tmp_path, metrics=metrics) as journal:
            ids = [write(journal)]
            path = used_segment(tmp_path)
            size = path.stat().st_size
            with file_limit(size + 100):
                refused = refusal(journal)
                assert (refused.status, refused.headers) == (503, {"Retry-After": "5"})
                assert "the journal is full; try again later" in refused.message
                assert path.stat().st_size == size
            ids.append(write(journal))
            assert metrics.journal_errors._value.get() == 1
            return ids

    ids = asyncio.run(run())
    assert kept(tmp_path) == ids


def test_what_cannot_be_cut_off_is_left_behind_in_its_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_CARE_SECONDS", 0.01)

    def no_truncate(*_: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def run() -> list[str]:
        async with running(tmp_path, sync_seconds=60.0) as journal:
            ids = [write(journal)]
            with monkeypatch.context() as patch, file_limit(used_segment(tmp_path).stat().st_size + 100):
                patch.setattr(os, "ftruncate", no_truncate)
                refusal(journal)
            ids.append(write(journal))
            with monkeypatch.context() as patch, file_limit(100):
                patch.setattr(os, "ftruncate", no_truncate)
                refusal(journal)
            assert "cannot be written" in refusal(journal).message, "both segments failed, and there is no third yet"
            ticks = wait_ticks(journal)
            await until(lambda: next(ticks) > 0 and journal._spare is not None)
            return [*ids, write(journal)]

    ids = asyncio.run(run())
    assert kept(tmp_path) == ids


def test_the_quota_is_for_all_and_shipping_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_CARE_SECONDS", 0.01)
    written(tmp_path, *(answer() for _ in range(10)))
    taken = sum(path.stat().st_size for path in segment_files(tmp_path))

    async def run() -> None:
        async with running(tmp_path, max_bytes=taken + 2000) as journal:
            ids = []
            with pytest.raises(RequestError, match="the journal is full"):
                while True:
                    ids.append(write(journal))
            assert 1 <= len(ids) <= 5
            assert len(kept(tmp_path)) == 10 + len(ids)
            for part in read_parts(tmp_path, {}, BIG):
                if part.last:
                    part.path.unlink()
            await until(lambda: journal._budget > 1000)
            write(journal)

    asyncio.run(run())


def test_segments_are_left_by_size_and_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_CARE_SECONDS", 0.01)

    async def run(seconds: float, size: int) -> int:
        monkeypatch.setattr(journal_module, "SEGMENT_SECONDS", seconds)
        monkeypatch.setattr(journal_module, "SEGMENT_BYTES", size)
        directory = tmp_path / f"{seconds:g}"
        async with running(directory) as journal:
            for _ in range(5):
                write(journal)
                await until(lambda: journal._spare is not None)
                await until(lambda: seconds > 1 or journal._segment.limit == 0)
        assert len(kept(directory)) == 5
        return sum(path.stat().st_size > 0 for path in segment_files(directory))

    assert asyncio.run(run(1000.0, BIG)) == 1
    assert asyncio.run(run(999.0, 100)) == 5
    assert asyncio.run(run(0.0, BIG)) == 5


def test_without_a_next_segment_the_present_one_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 100)

    async def run() -> None:
        async with running(tmp_path, sync_seconds=60.0) as journal:
            for _ in range(3):
                write(journal)

    asyncio.run(run())
    assert [path.stat().st_size > 0 for path in segment_files(tmp_path)] == [True, True]
    assert len(kept(tmp_path)) == 3


def test_a_directory_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "journal").touch()
    with pytest.raises(SettingsError, match=r"the journal .* cannot be written: File exists"):
        relaxed(tmp_path / "journal").start()
