"""Ids of predictions: one draw of randomness a request, a row number at the end."""

import time
import uuid
from random import Random

ROW_BITS = 20
MAX_ROWS = 1 << ROW_BITS
"""Most rows that share one draw; a larger batch is scored in parts."""


_LOW_BITS = (1 << 42) - 1
_random = Random()  # noqa: S311 - seeded by the system in each process; an id has to be unique, not secret


class PredictionIds:
    """The ids of the rows of one request: UUIDs of version 7 (RFC 9562), so that they sort by time and an id tells
    which partition its prediction is in. The last 20 bits count the rows."""

    __slots__ = ("base", "count")

    def __init__(self, base: str, count: int) -> None:
        """Take the id of the first row, and the number of rows (at most `MAX_ROWS`)."""
        self.base = base
        self.count = count

    @classmethod
    def drawn(cls, count: int) -> "PredictionIds":
        """Return new ids for `count` rows."""
        drawn = _random.getrandbits(54)
        low = 0b10 << 62 | (drawn & _LOW_BITS) << ROW_BITS
        head, tail = f"{int(time.time() * 1000):012x}", f"{low:016x}"
        return cls(f"{head[:8]}-{head[8:]}-7{drawn >> 42:03x}-{tail[:4]}-{tail[4:]}", count)

    def texts(self) -> list[str]:
        """Return the id of each row."""
        head = self.base[:-5]
        return [f"{head}{row:05x}" for row in range(self.count)]


def moment_of(prediction_id: uuid.UUID) -> float:
    """Return when a prediction with this id was made, in seconds since the epoch."""
    return (prediction_id.int >> 80) / 1000
