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

    def __init__(self, count: int, at: float | None = None) -> None:
        """Draw ids for `count` rows (at most `MAX_ROWS`) at `at`, in seconds since the epoch."""
        milliseconds = int((time.time() if at is None else at) * 1000)
        random = int.from_bytes(os.urandom(8))
        value = (milliseconds & ((1 << 48) - 1)) << 80 | 7 << 76 | (random & 0xFFF) << 64
        value |= 0b10 << 62 | (random >> 12 & ((1 << 42) - 1)) << ROW_BITS
        self.base = str(uuid.UUID(int=value))
        self.count = count

    def texts(self) -> list[str]:
        """Return the id of each row."""
        return row_ids(self.base, self.count)


def row_ids(base: str, count: int) -> list[str]:
    """Return the ids of `count` rows whose first is `base`."""
    head = base[:-5]
    return [f"{head}{row:05x}" for row in range(count)]


def moment_of(prediction_id: uuid.UUID) -> float:
    """Return when a prediction with this id was made, in seconds since the epoch."""
    return (prediction_id.int >> 80) / 1000
