"""Requests for one version are computed together when they come together, and never wait for a timer."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serving.errors import RequestError
from serving.models.model import PredictionFailed, Scores
from serving.plane import batcher as batcher_module
from serving.plane.batcher import MAX_JOINED_ROWS, Batcher


class Recorder:
    """An engine on lists of numbers that doubles them, and remembers its calls."""

    kind = "recorder"

    def __init__(self) -> None:
        self.calls: list[list[float]] = []
        self.threads: list[str] = []
        self.gate: threading.Event | None = None
        self.spend = 0.0

    def encode(self, rows: Any) -> Any:
        return rows

    def join(self, parts: Sequence[list[float]]) -> list[float]:
        return [value for part in parts for value in part]

    def predict(self, encoded: list[float]) -> Scores:
        self.calls.append(encoded)
        self.threads.append(threading.current_thread().name)
        if self.gate is not None:
            assert self.gate.wait(10)
        until = time.thread_time() + self.spend
        while time.thread_time() < until:
            pass
        if -1.0 in encoded:
            raise PredictionFailed("it does not like -1")
        if -2.0 in encoded:
            raise ZeroDivisionError("a bug")
        return Scores([2 * value for value in encoded], list(encoded))


@pytest.fixture
def engine() -> Recorder:
    return Recorder()


async def make(engine: Recorder, parallel: int = 1) -> tuple[Batcher, list[tuple[int, int]]]:
    """A batcher that knows already that its engine is quick."""
    observed: list[tuple[int, int]] = []
    threads = ThreadPoolExecutor(parallel, thread_name_prefix="predict")
    made = Batcher(engine, threads, parallel, lambda requests, rows, _: observed.append((requests, rows)))
    for _ in range(50):
        await made.score([0.0], 1)
    engine.calls.clear()
    engine.threads.clear()
    observed.clear()
    return made, observed


async def make_busy(engine: Recorder) -> tuple[Batcher, threading.Event, asyncio.Future[Scores]]:
    """A batcher whose engine computes a first request until the gate is set."""
    batcher, _ = await make(engine)
    engine.gate = threading.Event()
    first = asyncio.ensure_future(batcher.score([1.0], 1))
    while not engine.calls:
        await asyncio.sleep(0)
    return batcher, engine.gate, first


def test_a_lone_request_is_computed_alone_and_at_once_in_the_event_loop(engine: Recorder) -> None:
    async def run() -> None:
        batcher, _ = await make(engine)
        assert (await batcher.score([1.0], 1)).predictions == [2.0]

    asyncio.run(run())
    assert engine.calls == [[1.0]]
    assert not engine.threads[0].startswith("predict")


def test_requests_of_one_round_are_computed_together_and_each_gets_its_own(engine: Recorder) -> None:
    async def run() -> list[list[Scores]]:
        batcher, observed = await make(engine)
        requests = ([1.0, 2.0], [3.0], [4.0])
        rounds = [await asyncio.gather(*(batcher.score(one, len(one)) for one in requests)) for _ in range(2)]
        assert observed == [(1, 2), (2, 2), (3, 4)]
        return rounds

    for scores in asyncio.run(run()):
        assert [score.predictions for score in scores] == [[2.0, 4.0], [6.0], [8.0]]
        assert [score.probabilities for score in scores] == [[1.0, 2.0], [3.0], [4.0]]
    alone, others, together = engine.calls
    assert (alone, others) == ([1.0, 2.0], [3.0, 4.0]), "the first of a round after lone requests does not wait"
    assert together == [1.0, 2.0, 3.0, 4.0], "where there was company, it is waited for until the end of the round"


def test_while_the_version_is_busy_requests_gather(engine: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "_INLINE_SECONDS", 0.0)

    async def run() -> None:
        batcher, gate, first = await make_busy(engine)
        others = [asyncio.ensure_future(batcher.score([float(n)], 1)) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *others)

    asyncio.run(run())
    assert engine.calls == [[1.0], [2.0, 3.0, 4.0]]


def test_a_slow_version_computes_in_threads(engine: Recorder) -> None:
    async def run() -> None:
        batcher, _ = await make(engine)
        engine.spend = 0.1
        for _ in range(3):
            await batcher.score([1.0], 1)

    asyncio.run(run())
    assert engine.threads[-1].startswith("predict")


def test_a_version_known_to_be_slow_computes_in_threads_from_the_first_request(engine: Recorder) -> None:
    async def run() -> None:
        threads = ThreadPoolExecutor(1, thread_name_prefix="predict")
        await Batcher(engine, threads, 1, lambda *_: None, row_seconds=0.1).score([1.0], 1)

    asyncio.run(run())
    assert engine.threads[-1].startswith("predict")


def test_one_bad_request_does_not_take_the_others_along(engine: Recorder) -> None:
    async def run() -> list[Any]:
        batcher, _ = await make(engine)
        jobs = [batcher.score([value], 1) for value in (1.0, -1.0, -2.0, 4.0)]
        return await asyncio.gather(*jobs, return_exceptions=True)

    good, refused, broken, other = asyncio.run(run())
    assert (good.predictions, other.predictions) == ([2.0], [8.0])
    assert isinstance(refused, PredictionFailed)
    assert isinstance(broken, PredictionFailed)
    assert "ZeroDivisionError" in str(broken)


def test_a_join_is_bounded_and_a_large_request_goes_alone(engine: Recorder) -> None:
    async def run() -> None:
        batcher, observed = await make(engine, parallel=4)
        sizes = (MAX_JOINED_ROWS - 1, 1, 1, 3 * MAX_JOINED_ROWS)
        scores = await asyncio.gather(*(batcher.score([1.0] * size, size) for size in sizes))
        assert [len(score.predictions) for score in scores] == list(sizes)
        assert (1, 3 * MAX_JOINED_ROWS) in observed
        assert all(rows <= MAX_JOINED_ROWS for requests, rows in observed if requests > 1)
        assert sum(requests for requests, _ in observed) == len(sizes)

    asyncio.run(run())


def test_more_than_may_wait_are_told_to_come_back(engine: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batcher_module, "_INLINE_SECONDS", 0.0)
    monkeypatch.setattr(batcher_module, "MAX_WAITING", 2)

    async def run() -> None:
        batcher, gate, first = await make_busy(engine)
        waiting = [asyncio.ensure_future(batcher.score([1.0], 1)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RequestError) as refused:
            await batcher.score([1.0], 1)
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        gate.set()
        await asyncio.gather(first, *waiting)

    asyncio.run(run())


def test_a_request_that_was_given_up_does_not_disturb_its_batch(engine: Recorder) -> None:
    async def run() -> Scores:
        batcher, _ = await make(engine)
        given_up = asyncio.ensure_future(batcher.score([1.0], 1))
        other = asyncio.ensure_future(batcher.score([2.0], 1))
        await asyncio.sleep(0)
        given_up.cancel()
        return await other

    assert asyncio.run(run()).predictions == [4.0]
