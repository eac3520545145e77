"""How often each key may be used."""

import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

from serving.keys.key import Key

_MOMENT = struct.Struct("<d")
_ROUNDING = 1e-9


class RateLimit:
    """A token bucket for each key that has a rate: `rate` tokens a second flow in, at most max(rate, 1) stay, and a
    request takes one, however many rows it has.

    The bucket is kept as the one moment at which it will be full again (GCRA, https://en.wikipedia.org/wiki/
    Generic_cell_rate_algorithm), in a file of eight bytes a key. So all worker processes draw on the same bucket, and
    an application on one connection, which stays with one of them, gets the whole of its rate. Two processes that
    look at the same instant may let one request too many through; nothing locks. Each machine counts for itself.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep the buckets in `directory`. The clock has to be one that all processes of the machine share."""
        self._directory = directory
        self._clock = clock
        self._buckets: dict[str, int] = {}

    def wait(self, key: Key) -> float:
        """Take a token: return 0, or the seconds until there is one."""
        if key.rate is None:
            return 0.0
        handle = self._buckets.get(key.name)
        if handle is None:
            handle = self._buckets[key.name] = self._open(key.name)
        now = self._clock()
        seconds_each = 1 / key.rate
        burst_seconds = max(key.rate, 1.0) * seconds_each
        full_at = max(now, _MOMENT.unpack(os.pread(handle, _MOMENT.size, 0))[0])
        if full_at > now + burst_seconds + _ROUNDING:
            full_at = now  # further off than an empty bucket takes to fill: from before the machine started
        missing = full_at + seconds_each - now - burst_seconds
        if missing > _ROUNDING:
            return missing
        os.pwrite(handle, _MOMENT.pack(full_at + seconds_each), 0)
        return 0.0

    def _open(self, name: str) -> int:
        """Open a bucket, full if it is new. Written at its place once, it needs no more room on a disk that fills."""
        self._directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._directory / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if len(os.pread(handle, _MOMENT.size, 0)) < _MOMENT.size:
            os.pwrite(handle, _MOMENT.pack(0.0), 0)
        return handle
