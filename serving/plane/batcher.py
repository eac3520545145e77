"""Joins the requests that wait for one version.

Nothing waits for a timer. A request that finds the version idle is computed at the end of the event loop's present
round, together with those that came in the same round; at once, if requests have come one by one of late. While all of
the version's threads are busy, requests gather, and go together when one is free.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

from serving.errors import RequestError
from serving.models.model import Engine, PredictionFailed, Scores

MAX_JOINED_ROWS = 1024
"""Most rows of joined requests; a single larger request goes alone."""
MAX_WAITING = 1000
"""Requests that may wait for one version; further ones are told to come back."""
_INLINE_SECONDS = 0.005
"""A batch expected to take less than this is computed in the event loop. A thread would have to win the interpreter's
lock back from a busy event loop after each of the model's steps: the batch would take many times as long."""
_WEIGHT = 0.1


@dataclass(slots=True)
class _Item:
    encoded: Any
    rows: int
    future: asyncio.Future[Scores]


class Batcher:
    """The queue of one version in one process. Used from the event loop only."""

    def __init__(
        self,
        engine: Engine,
        threads: Executor,
        parallel: int,
        observe: Callable[[int, int, float], None],
        row_seconds: float = 0.0,
    ) -> None:
        """Queue for `engine`.

        Args:
            engine: computes.
            threads: where batches go that take long.
            parallel: most batches that run at the same time.
            observe: told of each batch: requests, rows, seconds.
            row_seconds: processor time of a call with one row.
        """
        self._engine = engine
        self._threads = threads
        self._parallel = parallel
        self._observe = observe
        self._waiting: deque[_Item] = deque()
        self._running = 0
        self._scheduled = False
        self._one_by_one = True
        # moving averages of batches: seconds of processor time, and rows
        self._seconds = row_seconds
        self._rows = 1.0

    async def score(self, encoded: Any, rows: int) -> Scores:
        """Compute one request's rows.

        Raises:
            PredictionFailed: the model failed on them.
            RequestError: 503, too many requests wait already.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise RequestError(
                503,
                f"{MAX_WAITING} requests wait for this model already; send fewer at a time",
                headers={"Retry-After": "1"},
            )
        loop = asyncio.get_running_loop()
        if self._one_by_one and not self._waiting and not self._running and self._quick_enough(rows):
            return self._at_once(encoded, rows, loop)
        item = _Item(encoded, rows, loop.create_future())
        self._waiting.append(item)
        if not self._scheduled and self._running < self._parallel:
            self._scheduled = True
            loop.call_soon(self._dispatch, loop)
        return await item.future

    def _quick_enough(self, rows: int) -> bool:
        return self._seconds * max(rows / self._rows, 1.0) < _INLINE_SECONDS

    def _at_once(self, encoded: Any, rows: int, loop: asyncio.AbstractEventLoop) -> Scores:
        """Compute the first request of a round without a wait; a second one in the same round is a sign of company."""
        self._one_by_one = False
        started = time.perf_counter()
        result = self._attempt(encoded)
        loop.call_soon(self._round_over, rows, time.perf_counter() - started)
        if isinstance(result, PredictionFailed):
            raise result
        return result

    def _round_over(self, rows: int, seconds: float) -> None:
        """Count what was computed at once, now that its answer is on its way."""
        self._one_by_one = not self._waiting
        self._measure(1, rows, seconds)

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        while self._waiting and self._running < self._parallel:
            batch, rows = self._take()
            self._one_by_one = len(batch) == 1
            if self._quick_enough(rows):
                self._settle(batch, *self._compute(batch, rows))
                continue
            self._running += 1
            computed = loop.run_in_executor(self._threads, self._compute, batch, rows)
            computed.add_done_callback(partial(self._done, batch, loop))

    def _take(self) -> tuple[list[_Item], int]:
        batch = [self._waiting.popleft()]
        rows = batch[0].rows
        while self._waiting and rows + self._waiting[0].rows <= MAX_JOINED_ROWS:
            batch.append(self._waiting.popleft())
            rows += batch[-1].rows
        return batch, rows

    def _compute(self, batch: list[_Item], rows: int) -> tuple[list[Scores | PredictionFailed], int, float]:
        """Score a batch; if it fails as a whole, each request alone, so that one does not take the others along."""
        started = time.thread_time()
        results: list[Scores | PredictionFailed]
        if len(batch) == 1:
            results = [self._attempt(batch[0].encoded)]
        else:
            joined = self._attempt(self._engine.join([item.encoded for item in batch]))
            if isinstance(joined, PredictionFailed):
                results = [self._attempt(item.encoded) for item in batch]
            else:
                results, start = [], 0
                for item in batch:
                    results.append(joined.part(start, start + item.rows))
                    start += item.rows
        return results, rows, time.thread_time() - started

    def _attempt(self, encoded: Any) -> Scores | PredictionFailed:
        try:
            return self._engine.predict(encoded)
        except PredictionFailed as exc:
            return exc
        except Exception as exc:
            failure = PredictionFailed(f"{type(exc).__name__}: {exc}")
            failure.__cause__ = exc
            return failure

    def _done(
        self,
        batch: list[_Item],
        loop: asyncio.AbstractEventLoop,
        computed: "asyncio.Future[tuple[list[Scores | PredictionFailed], int, float]]",
    ) -> None:
        self._running -= 1
        self._settle(batch, *computed.result())
        self._dispatch(loop)

    def _settle(self, batch: list[_Item], results: list[Scores | PredictionFailed], rows: int, seconds: float) -> None:
        self._measure(len(batch), rows, seconds)
        for item, result in zip(batch, results, strict=True):
            if item.future.done():  # its request was cancelled
                continue
            if isinstance(result, PredictionFailed):
                item.future.set_exception(result)
            else:
                item.future.set_result(result)

    def _measure(self, requests: int, rows: int, seconds: float) -> None:
        self._seconds += _WEIGHT * (seconds - self._seconds)
        self._rows += _WEIGHT * (rows - self._rows)
        self._observe(requests, rows, seconds)
