"""The journal's writer: each answer is written down before it leaves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from serving.errors import RequestError, SettingsError
from serving.journal.format import Feedback, feedback_line, predictions_line
from serving.journal.segments import Segment, bytes_on_disk, claim_worker

if TYPE_CHECKING:
    from serving.http.wire import HttpRequest
    from serving.metrics import Metrics
    from serving.plane.plane import Answer

log = logging.getLogger(__name__)

SEGMENT_BYTES = 64 * 1024 * 1024
SEGMENT_SECONDS = 300.0
"""Age at which a segment is left for the next, so that it can be shipped as a whole and deleted."""
_CARE_SECONDS = 1.0
"""How often the disk in use is measured; other workers write beside this one."""
_RETRY_AFTER = {"Retry-After": "5"}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Journal:
    """Writes the entries of one process. Used from one thread, the event loop's; the disk is waited for in another.

    An entry is in the kernel when `predictions` or `feedback` returns, so that the death of the process loses nothing.
    It is on the disk once `durable` returned if the journal is strict, else within `sync_seconds`.
    """

    def __init__(
        self,
        directory: Path,
        durability: Literal["relaxed", "strict"],
        metrics: Metrics,
        sync_seconds: float,
        max_bytes: int,
    ) -> None:
        """Write below `directory`.

        Args:
            directory: the journal's, shared by all worker processes.
            durability: whether `durable` waits for the disk.
            metrics: where refused requests and the disk's time are counted.
            sync_seconds: longest that an entry is in the kernel only.
            max_bytes: most that all workers' segments take together; beyond it requests are refused.
        """
        self.strict = durability == "strict"
        self._directory = directory
        self._metrics = metrics
        self._sync_seconds = sync_seconds
        self._max_bytes = max_bytes
        self._segment_bytes = min(SEGMENT_BYTES, max(max_bytes // 16, 1))
        self._budget = 0
        self._writes = 0
        self._synced_writes = 0
        self._refusing = False
        self._segment: Segment
        self._spare: Segment | None = None
        self._retired: deque[Segment] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._cared_at = 0.0
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        """Claim a worker directory and open its next segment.

        Raises:
            SettingsError: the directory cannot be written.
        """
        try:
            self._worker, self._lock = claim_worker(self._directory)
            self._segment = Segment.create(self._worker, self._segment_bytes)
            self._care()
        except OSError as exc:
            raise SettingsError(f"the journal {self._directory} cannot be written: {exc.strerror}") from exc
        self._thread.start()

    async def stop(self) -> None:
        """Bring everything to the disk and leave the segments to the shipper."""
        self._stopping = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join)
        self._segment.close()
        if self._spare is not None:
            self._spare.close()
        os.close(self._lock)

    def predictions(self, answer: Answer, request: HttpRequest, latency_ms: float, *, role: str | None = None) -> None:
        """Write down an answer. `role` is given where it is not the version's own.

        Raises:
            RequestError: 503, it cannot be written, and nothing of it is.
        """
        self._write(predictions_line(answer, request, latency_ms, role))

    def feedback(self, model: str, items: Sequence[Feedback], request: HttpRequest) -> None:
        """Write down outcomes, all or none. Raises what `predictions` raises."""
        self._write(feedback_line(model, items, request, time.time()))

    async def durable(self) -> None:
        """Return when everything written so far is on the disk; at once if the journal is relaxed.

        One wait serves all that come while the disk works on the one before.

        Raises:
            RequestError: 503, the disk failed.
        """
        if not self.strict:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake.set()
        await future

    def _write(self, line: bytes) -> None:
        # One line at a time: a reader takes a whole line for written, and what a failed write left is cut off again.
        segment = self._segment
        if segment.size >= segment.limit:
            segment = self._rotated()
        if len(line) > self._budget:
            raise self._refusal("the journal is full", f"it takes the {self._max_bytes} bytes that it may")
        try:
            segment.append(line)
        except OSError as exc:
            raise self._refusal(_reason(exc), str(exc)) from exc
        self._budget -= len(line)
        self._writes += 1
        if self._refusing:
            self._refusing = False
            log.info("the journal is written again")

    def _rotated(self) -> Segment:
        segment, spare = self._segment, self._spare
        if spare is not None:
            self._spare = None
            self._segment = spare
            self._retired.append(segment)
            return spare
        if segment.failed:
            raise self._refusal("the journal cannot be written", f"{segment.path} failed, and there is no other yet")
        return segment

    def _refusal(self, reason: str, detail: str) -> RequestError:
        self._metrics.journal_errors.inc()
        if not self._refusing:
            self._refusing = True
            log.error("requests are refused, %s: %s (%s)", reason, detail, self._directory)
        return _unrecorded(reason)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._sync_seconds)
            self._wake.clear()
            self._sync()
            if time.monotonic() - self._cared_at >= _CARE_SECONDS:
                try:
                    self._care()
                except OSError as exc:
                    log.warning("the journal cannot prepare its next segment: %s", exc)
        self._sync()

    def _sync(self) -> None:
        """Bring what was written to the disk, and tell those who wait. What they wrote is in the segment that is
        current when this begins, or in an earlier one."""
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        writes = self._writes  # counted by the event loop alone, so that none is lost between a look and a reset
        segments = [self._segment] if writes != self._synced_writes else []
        self._synced_writes = writes
        retired = [self._retired.popleft() for _ in range(len(self._retired))]
        failed = [segment for segment in dict.fromkeys(retired + segments) if not self._synced(segment)]
        for segment in retired:
            segment.close()
        if waiting:
            failure = _unrecorded("the journal's disk failed") if failed else None
            with contextlib.suppress(RuntimeError):  # the event loop has ended, and the requests with it
                waiting[0].get_loop().call_soon_threadsafe(_settle, waiting, failure)

    def _synced(self, segment: Segment) -> bool:
        started = time.perf_counter()
        try:
            segment.sync()
        except OSError as exc:
            log.error("the disk lost a part of the journal: %s (%s)", exc, segment.path)
            self._metrics.journal_errors.inc()
            return False
        self._metrics.journal_sync.observe(time.perf_counter() - started)
        return True

    def _care(self) -> None:
        """Measure the disk in use, and have the next segment at hand, so that the event loop never waits for one."""
        self._cared_at = time.monotonic()
        self._budget = self._max_bytes - bytes_on_disk(self._directory)
        if self._segment.size and self._cared_at - self._segment.created > SEGMENT_SECONDS:
            self._segment.limit = 0
        if self._spare is None:
            self._spare = Segment.create(self._worker, self._segment_bytes)


def _settle(waiting: Sequence[asyncio.Future[None]], failure: RequestError | None) -> None:
    for future in waiting:
        if future.done():  # its request was cancelled
            continue
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)


def _reason(exc: OSError) -> str:
    return "the journal is full" if exc.errno in _FULL else "the journal cannot be written"


def _unrecorded(reason: str) -> RequestError:
    return RequestError(503, f"the request could not be recorded: {reason}; try again later", headers=_RETRY_AFTER)
