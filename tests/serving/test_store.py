"""Predictions reach PostgreSQL in groups, once, and after its absences."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from serving_fakes import FakePostgres, FakeRegistry, wait_for

from serving.models.loader import Loader
from serving.metrics import Metrics
from serving.models.model import ServedModel
from serving.predictions import PredictionBatch
from serving.store import PredictionStore

WAIT_SECONDS = 20.0
RECORD: dict[str, Any] = {"carrier": "UA", "hour": 5, "temp": None, "distance": 700}


@pytest.fixture
def model(loader: Loader, registry: FakeRegistry, model_dir: Path) -> ServedModel:
    return loader.load("m", registry.add("m", model_dir), "champion")


@pytest.fixture
def store(metrics: Metrics, postgres: FakePostgres) -> Iterator[PredictionStore]:
    store = PredictionStore("postgresql://nowhere", metrics, capacity=10, wait_seconds=WAIT_SECONDS)
    store.start()
    yield store
    postgres.down = False
    store.stop(5.0)


def batch(model: ServedModel, rows: int = 1, **changes: Any) -> PredictionBatch:
    return PredictionBatch(model, model.score([RECORD | changes] * rows), "client", 1.5)


def written(store: PredictionStore, *batches: PredictionBatch) -> list[bool]:
    async def write() -> list[bool]:
        return await asyncio.gather(*[store.write(one) for one in batches])

    return asyncio.run(write())


def count(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value(f"serving_store_{name}")


def test_the_answer_waits_until_its_rows_are_committed(
    store: PredictionStore, postgres: FakePostgres, model: ServedModel
) -> None:
    one = batch(model, rows=2)
    assert written(store, one) == [True]
    assert list(postgres.rows) == one.ids
    row = postgres.rows[one.ids[0]]
    assert row[2:6] == ("m", 1, "champion", None)
    assert orjson.loads(row[6]) == RECORD
    assert orjson.loads(row[7]) is True
    assert row[8] == pytest.approx(one.outcome.probabilities[0])
    assert row[9:] == (1.5, "client")


def test_batches_that_wait_together_are_written_together(
    store: PredictionStore, postgres: FakePostgres, model: ServedModel
) -> None:
    postgres.down = True
    written(store, batch(model))
    written(store, batch(model), batch(model), batch(model))
    postgres.down = False
    wait_for(lambda: len(postgres.rows) == 4)
    assert postgres.inserts == [1, 3]


def test_while_postgresql_is_away_nobody_waits_and_nothing_is_lost(
    store: PredictionStore, postgres: FakePostgres, model: ServedModel, metrics: Metrics
) -> None:
    assert written(store, batch(model)) == [True]
    postgres.down = True
    started = time.monotonic()
    assert written(store, *[batch(model) for _ in range(4)]) == [False] * 4
    assert time.monotonic() - started < WAIT_SECONDS / 2
    assert (count(metrics, "up"), count(metrics, "rows_queued")) == (0, 4)
    postgres.down = False
    wait_for(lambda: len(postgres.rows) == 5)
    wait_for(lambda: count(metrics, "rows_queued") == 0)
    assert (count(metrics, "up"), count(metrics, "rows_written_total"), count(metrics, "rows_lost_total")) == (1, 5, 0)
    assert written(store, batch(model)) == [True]


def test_what_does_not_fit_into_memory_is_lost_and_counted(
    store: PredictionStore,
    postgres: FakePostgres,
    model: ServedModel,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    postgres.down = True
    written(store, *[batch(model, rows=4) for _ in range(4)])
    assert (count(metrics, "rows_queued"), count(metrics, "rows_lost_total")) == (8, 8)
    assert [record.message for record in caplog.records if "lost" in record.message] == [
        "4 predictions are lost (more are counted by serving_store_rows_lost_total): 8 rows wait for PostgreSQL already"
    ]


def test_a_hanging_database_is_waited_for_once(
    metrics: Metrics, postgres: FakePostgres, model: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PredictionStore("postgresql://nowhere", metrics, capacity=10, wait_seconds=0.05)
    assert written(store, batch(model)) == [False]  # the writer has not been started: nothing ever answers
    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "wait_for", lambda *_: pytest.fail("it waited again"))
        assert written(store, batch(model)) == [False]
    store.start()
    wait_for(lambda: len(postgres.rows) == 2)
    store.stop(5.0)


def test_rows_that_postgresql_refuses_do_not_hold_up_the_others(
    store: PredictionStore, postgres: FakePostgres, model: ServedModel, metrics: Metrics
) -> None:
    postgres.refuse = lambda row: b'"XX"' in row[6].encode()
    good = batch(model)
    written(store, batch(model, carrier="XX"), good, batch(model, carrier="XX"))
    assert list(postgres.rows) == good.ids
    assert (count(metrics, "rows_lost_total"), count(metrics, "rows_queued")) == (2, 0)


def test_stopping_writes_what_waits_and_tells_what_is_lost(
    metrics: Metrics, postgres: FakePostgres, model: ServedModel, caplog: pytest.LogCaptureFixture
) -> None:
    store = PredictionStore("postgresql://nowhere", metrics, capacity=10, wait_seconds=0.01)
    written(store, batch(model, rows=3))
    store.start()
    store.stop(5.0)
    assert len(postgres.rows) == 3

    postgres.down = True
    store = PredictionStore("postgresql://nowhere", metrics, capacity=10, wait_seconds=0.01)
    store.start()
    written(store, batch(model, rows=2))
    store.stop(5.0)
    assert count(metrics, "rows_lost_total") == 2
    assert "2 predictions are lost" in caplog.text
