"""Reading segments from where they were left, while they are being written."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.journal.format import Line, read_lines
from serving.journal.segments import is_closed, segment_files

READ_BYTES = 2 * 1024 * 1024
"""Read at a time, unless a single line is longer; one transaction commits that much."""


@dataclass(frozen=True, slots=True)
class Part:
    """Whole lines of a segment, from `start` to before `stop`."""

    path: Path
    start: int
    stop: int
    lines: list[Line]
    abandoned: int
    """Bytes at the end, before `stop`, of a line that its writer did not live to finish."""
    last: bool
    """Whether nothing comes after it, now or later."""


def segment_name(path: Path) -> str:
    """Return a segment's name, which no other ever has."""
    return f"{path.parent.name}/{path.stem}"


def read_parts(journal: Path, positions: Mapping[str, int], budget: int = READ_BYTES) -> list[Part]:
    """Read about `budget` bytes of what comes after `positions` in all segments.

    A segment that was read to its end, and that nobody writes any more, gives a part with `last`, if an empty one.

    Raises:
        OSError: one cannot be read.
    """
    parts: list[Part] = []
    for path in segment_files(journal):
        if budget <= 0:
            break
        try:
            part = read_part(path, positions.get(segment_name(path), 0), budget)
        except FileNotFoundError:
            continue
        budget -= part.stop - part.start
        if part.last or part.stop > part.start:
            parts.append(part)
    return parts


def read_part(path: Path, start: int, budget: int) -> Part:
    """Read the next whole lines of one segment, about `budget` bytes and at least one line if there is one.

    Raises:
        OSError: it cannot be read.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        closed = is_closed(fd)  # asked before the size: then nothing comes after it
        unread = max(os.fstat(fd).st_size - start, 0)
        data = os.pread(fd, min(budget, unread), start)
        while b"\n" not in data and budget < unread:
            budget *= 2
            data = os.pread(fd, min(budget, unread), start)
    finally:
        os.close(fd)
    whole = data.rfind(b"\n") + 1
    last = closed and len(data) == unread
    abandoned = len(data) - whole if last else 0
    return Part(path, start, start + whole + abandoned, list(read_lines(data[:whole])), abandoned, last)
