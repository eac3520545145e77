"""The journal as it grows, for a reader that may miss some of it but must never fall far behind."""

from collections.abc import Iterator
from pathlib import Path

from serving.journal.format import PREDICTIONS, Entry
from serving.journal.segments import segment_files
from serving.journal.tail import read_parts, segment_name

MAX_BEHIND_BYTES = 16 * 1024 * 1024
"""What is further behind than this in a segment is left out: a shadow that is too slow sees a part of the traffic."""


class Tail:
    """Reads the entries of predictions that all workers append from now on."""

    def __init__(self, directory: Path) -> None:
        """Begin at the present end of the journal in `directory`."""
        self._directory = directory
        self._positions = self._sizes()
        self.left_out_bytes = 0
        """Bytes of the journal that were skipped since the start."""

    def entries(self) -> Iterator[Entry]:
        """Yield what was appended since the last call."""
        self._forget_and_skip()
        while parts := [part for part in read_parts(self._directory, self._positions) if part.stop > part.start]:
            for part in parts:
                self._positions[segment_name(part.path)] = part.stop
                for line in part.lines:
                    if line.entry is not None and line.entry["kind"] == PREDICTIONS:
                        yield line.entry

    def _sizes(self) -> dict[str, int]:
        sizes = {}
        for path in segment_files(self._directory):
            try:
                sizes[segment_name(path)] = path.stat().st_size
            except FileNotFoundError:  # shipped and deleted meanwhile
                continue
        return sizes

    def _forget_and_skip(self) -> None:
        """Forget segments that are gone; where too much waits, go on near the end. The line that is cut there fails its
        checksum."""
        sizes = self._sizes()
        self._positions = {name: self._positions.get(name, 0) for name in sizes}
        for name, size in sizes.items():
            behind = size - self._positions[name]
            if behind > MAX_BEHIND_BYTES:
                skipped = behind - MAX_BEHIND_BYTES // 2
                self._positions[name] += skipped
                self.left_out_bytes += skipped
