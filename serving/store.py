"""Predictions on their way to PostgreSQL: written in groups by one thread, kept while the database is away."""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from serving.metrics import Metrics
from serving.predictions import PredictionBatch, create_table, insert

log = logging.getLogger(__name__)

# Errors that the rows themselves cause: the same rows fail every time. All others are waited out.
_ROWS_AT_FAULT = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
_CONNECT_OPTIONS: dict[str, Any] = {"connect_timeout": 3, "tcp_user_timeout": 5000, "application_name": "serving"}
_ROWS_A_WRITE = 5000
_FIRST_RETRY_SECONDS = 0.2
_LAST_RETRY_SECONDS = 5.0


@dataclass(slots=True)
class _Waiting:
    """A batch that is not written yet, and who waits for it (nobody while PostgreSQL is away)."""

    batch: PredictionBatch
    future: asyncio.Future[bool] | None

    def release(self, written: bool) -> None:
        """Let the request go on; from the writer's thread."""
        future, self.future = self.future, None
        if future is not None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended, and the request with it
                future.get_loop().call_soon_threadsafe(_resolve, future, written)


def _resolve(future: asyncio.Future[bool], written: bool) -> None:
    if not future.done():
        future.set_result(written)


class PredictionStore:
    """Takes batches from the event loop and writes all that wait in one transaction.

    A request waits for its commit. While PostgreSQL is away nobody waits: batches are kept, up to a number of rows,
    and written when it is back.
    """

    def __init__(self, url: str, metrics: Metrics, capacity: int, wait_seconds: float) -> None:
        """Write to the database at `url`.

        Args:
            url: PostgreSQL address of a role that may create the table.
            metrics: where written, waiting and lost rows are counted.
            capacity: most rows kept in memory; a batch that does not fit is lost.
            wait_seconds: longest that `write` waits for a commit.
        """
        self._url = url
        self._metrics = metrics
        self._capacity = capacity
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._unwritten_rows = 0
        self._stopping = threading.Event()
        self._healthy = True
        self._losing = False
        self._connection: psycopg.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="prediction-store", daemon=True)

    def start(self) -> None:
        """Start the writer."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what waits, within `seconds`, and end; what PostgreSQL does not take is lost, counted and logged."""
        with self._changed:
            self._stopping.set()
            self._changed.notify()
        self._thread.join(seconds)
        if self._unwritten_rows:
            self._losing = False
            self._lose(self._unwritten_rows, "the server stops and PostgreSQL does not take them")

    async def write(self, batch: PredictionBatch) -> bool:
        """Hand over a batch; return whether it is committed. False: it is written later, or lost and counted."""
        future = asyncio.get_running_loop().create_future() if self._healthy else None
        with self._changed:
            if self._unwritten_rows + len(batch.ids) > self._capacity:
                self._lose(len(batch.ids), f"{self._unwritten_rows} rows wait for PostgreSQL already")
                return False
            self._queue.append(_Waiting(batch, future))
            self._count_unwritten(len(batch.ids))
            self._changed.notify()
        if future is None:
            return False
        try:
            return await asyncio.wait_for(future, self._wait_seconds)
        except TimeoutError:
            self._set_healthy(False, f"no answer within {self._wait_seconds:g} s")
            return False

    def _run(self) -> None:
        with contextlib.suppress(psycopg.Error):  # the first write says so; the table is there before it if possible
            self._connected()
        while group := self._next_group():
            if not self._write_until_done(group):
                return
            with self._changed:
                self._count_unwritten(-sum(len(waiting.batch.ids) for waiting in group))
        self._disconnect()

    def _next_group(self) -> list[_Waiting]:
        """Wait for batches and take as many as one write takes; none once the store stops and all is written."""
        group: list[_Waiting] = []
        rows = 0
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping.is_set())
            while self._queue and rows < _ROWS_A_WRITE:
                group.append(self._queue.popleft())
                rows += len(group[-1].batch.ids)
        return group

    def _write_until_done(self, group: list[_Waiting]) -> bool:
        """Write a group, however long PostgreSQL is away; False if the store stops before."""
        delay = _FIRST_RETRY_SECONDS
        while True:
            try:
                self._write([waiting.batch for waiting in group])
            except psycopg.Error as exc:
                self._disconnect()
                self._set_healthy(False, str(exc).partition("\n")[0])
                with self._changed:
                    for waiting in (*group, *self._queue):
                        waiting.release(False)
                if self._stopping.is_set():
                    return False
                self._stopping.wait(delay)
                delay = min(2 * delay, _LAST_RETRY_SECONDS)
            else:
                self._set_healthy(True)
                for waiting in group:
                    waiting.release(True)
                return True

    def _write(self, batches: Sequence[PredictionBatch]) -> None:
        try:
            self._insert(batches)
        except psycopg.Error as exc:
            if not isinstance(exc, _ROWS_AT_FAULT):
                raise
            if len(batches) > 1:
                for batch in batches:
                    self._write([batch])
            else:
                self._lose(len(batches[0].ids), f"PostgreSQL refuses them: {exc}")

    def _insert(self, batches: Sequence[PredictionBatch]) -> None:
        was_connected = self._connection is not None
        try:
            insert(self._connected(), batches)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            if not was_connected:
                raise
            # A connection that PostgreSQL closed in the meantime (a restart) is no outage yet.
            self._disconnect()
            insert(self._connected(), batches)
        self._metrics.store_written.inc(sum(len(batch.ids) for batch in batches))

    def _connected(self) -> psycopg.Connection:
        if self._connection is None:
            connection = psycopg.connect(self._url, autocommit=True, **_CONNECT_OPTIONS)
            try:
                create_table(connection)
            except psycopg.Error:
                connection.close()
                raise
            self._connection = connection
            self._metrics.store_up.set(1)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _set_healthy(self, healthy: bool, reason: str = "") -> None:
        self._metrics.store_up.set(int(healthy))
        if healthy and not self._healthy:
            log.info("PostgreSQL takes predictions again; %d rows were waiting", self._unwritten_rows)
        if not healthy and self._healthy:
            log.error(
                "PostgreSQL does not take predictions (%s); requests are answered on, up to %d rows are kept to be "
                "written later",
                reason,
                self._capacity,
            )
        self._healthy = healthy
        self._losing = self._losing and not healthy

    def _lose(self, rows: int, reason: str) -> None:
        self._metrics.store_lost.inc(rows)
        if not self._losing:
            log.error("%d predictions are lost (more are counted by serving_store_rows_lost_total): %s", rows, reason)
        self._losing = True

    def _count_unwritten(self, rows: int) -> None:
        self._unwritten_rows += rows
        self._metrics.store_queued.set(self._unwritten_rows)
