"""What is acknowledged is written down, whatever happens to the process or to the disk."""

import asyncio
import fcntl
import os
import signal
import subprocess
from pathlib import Path

import pytest

from serving.journal.format import Feedback
from serving.journal.segments import segment_files
from serving.journal.tail import read_part, read_parts
from tests.serving.journal.fakes import BIG, REQUEST, answer, command, entries, kept, running, write, written


def test_it_is_written_when_the_call_returns(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as journal:
            identity = write(journal)
            assert kept(tmp_path) == [identity]
            journal.feedback("m", [Feedback(identity, None, 1, None)], REQUEST)
            assert entries(tmp_path)[1]["items"][0]["prediction_id"] == identity

    asyncio.run(run())


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    written(tmp_path / "journal", answer())
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "journal").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_each_process_has_a_directory_of_its_own(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as first:
            write(first)
            async with running(tmp_path) as second:
                write(second)
        async with running(tmp_path) as third:
            write(third)

    asyncio.run(run())
    with_entries = [path.parent.name for path in segment_files(tmp_path) if path.stat().st_size]
    assert with_entries == ["worker-0", "worker-0", "worker-1"]
    assert len(kept(tmp_path)) == 3


def test_a_segment_is_open_while_its_writer_lives(tmp_path: Path) -> None:
    async def run() -> None:
        async with running(tmp_path) as journal:
            write(journal)
            assert [part.last for part in read_parts(tmp_path, {})] == [False]

    asyncio.run(run())
    assert {part.last for part in read_parts(tmp_path, {})} == {True}


@pytest.mark.parametrize("durability", ["relaxed", "strict"])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, durability: str) -> None:
    acknowledged: set[str] = set()
    for lines in (1, 40, 400):
        child = subprocess.Popen(command("write", str(tmp_path), durability), stdout=subprocess.PIPE)
        assert child.stdout is not None
        found = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        found += child.stdout.read().splitlines(keepends=True)
        assert child.wait() == -signal.SIGKILL
        acknowledged |= {line.split()[0].decode() for line in found if line.endswith(b"\n")}
    assert len(acknowledged) >= 441
    assert acknowledged <= set(kept(tmp_path))
    parts = read_parts(tmp_path, {}, BIG)
    assert all(part.last for part in parts)
    assert all(line.entry is not None for part in parts for line in part.lines)


def test_half_a_line_is_left_out_once_its_writer_is_gone(tmp_path: Path) -> None:
    written(tmp_path, answer(), answer())
    path = next(path for path in segment_files(tmp_path) if path.stat().st_size)
    whole = path.stat().st_size
    os.truncate(path, whole - 10)
    with path.open() as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        part = read_part(path, 0, BIG)
        assert (len(part.lines), part.abandoned, part.last) == (1, 0, False)
    part = read_part(path, 0, BIG)
    assert (len(part.lines), part.stop, part.last) == (1, whole - 10, True)
    assert part.abandoned == whole - 10 - part.lines[0].start - len(part.lines[0].raw) - 1 > 0


def test_long_lines_and_small_reads(tmp_path: Path) -> None:
    written(tmp_path, answer(), answer(500), answer())
    path = next(path for path in segment_files(tmp_path) if path.stat().st_size)
    found, start = [], 0
    while not (part := read_part(path, start, 700)).last:
        assert part.lines
        found += part.lines
        start = part.stop
    assert [len(line.entry["predictions"]) for line in found + part.lines if line.entry] == [1, 500, 1]
