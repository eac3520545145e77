"""Ids of predictions: one draw of randomness a request, a row number at the end."""

import os
import time
import uuid

ROW_BITS = 20
MAX_ROWS = 1 << ROW_BITS
"""Most rows that share one draw; a larger batch is scored in parts."""


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
        random = int.from_bytes(os.urandom(7))
        value = int(time.time() * 1000) << 80 | 7 << 76 | (random & 0xFFF) << 64
        value |= 0b10 << 62 | (random >> 12 & ((1 << 42) - 1)) << ROW_BITS
        return cls(str(uuid.UUID(int=value)), count)

    def texts(self) -> list[str]:
        """Return the id of each row."""
        head = self.base[:-5]
        return [f"{head}{row:05x}" for row in range(self.count)]


def moment_of(prediction_id: uuid.UUID) -> float:
    """Return when a prediction with this id was made, in seconds since the epoch."""
    return (prediction_id.int >> 80) / 1000
