"""A million rows in one body, and what they cost a model server in memory and its other callers in waiting."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tools.model_server import ModelServer

ROWS = 1_000_000
BODY_BYTES = ROWS * 12 * 8
STREAM, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def table() -> pa.Table:
    generator = np.random.default_rng(0)
    return pa.table({f"f{i}": generator.normal(size=ROWS) for i in range(12)})


def encode(table: pa.Table, media_type: str) -> bytes:
    sink = io.BytesIO()
    if media_type == PARQUET:
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def resident_bytes(server: ModelServer) -> int:
    status = Path("/proc", str(server.pid), "status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


@pytest.mark.parametrize("media_type", [STREAM, PARQUET])
def test_a_million_rows_are_scored_in_less_memory_than_the_body_has(
    server: Callable[..., ModelServer], samples: Callable[[str], Any], table: pa.Table, media_type: str
) -> None:
    sample, running = samples("numeric"), server()
    running.add_version("numeric", sample.model, sample.tags, "champion")
    running.start()
    one = {"records": sample.records[:1]}
    assert running.call("POST", "/models/numeric/predict", one).status == 200
    body = encode(table, media_type)
    before = resident_bytes(running)
    seen: list[int] = []
    others: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(resident_bytes(running))
            others.append(running.call("POST", "/models/numeric/predict", one).status)

    watcher = threading.Thread(target=watch)
    watcher.start()
    answer = running.call("POST", "/models/numeric/batch", body, headers={"Content-Type": media_type}, timeout=120)
    done.set()
    watcher.join()
    assert answer.status == 200, answer.body
    scored = pa.ipc.open_stream(answer.body).read_all()
    assert (scored.num_rows, scored.schema.metadata[b"rows"]) == (ROWS, b"1000000")
    assert pa.compute.count_distinct(scored["prediction_id"]).as_py() == ROWS
    assert len(others) > 20, "others are answered meanwhile"
    assert set(others) == {200}
    assert max(seen) - before < BODY_BYTES
