"""Batches from a caller's side, over the whole application in this process."""

import asyncio
import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract import CANARY_SHARE_TAG
from serving.errors import RequestError
from serving.http.wire import HttpRequest
from serving.ids import PredictionIds
from serving.models.model import PredictionFailed
from serving.protocols.batch import MEDIA_TYPES
from serving.protocols.columnar.reading import CHUNK_ROWS
from serving.protocols.columnar.writing import BROKEN_STREAM
from serving.run import Server
from tests.serving.fakes import Answer, AsgiClient, FakeRegistry, wait_for

Journal = Callable[[], list[dict[str, Any]]]

BATCH = "/models/m/batch"
STREAM, FILE, PARQUET = MEDIA_TYPES
ROWS = 20_000


def table(rows: int = ROWS) -> pa.Table:
    index = range(rows)
    return pa.table(
        {
            "flight_id": [f"f{i}" for i in index],
            "carrier": pa.array(["UA" if i % 2 else "B6" for i in index]).dictionary_encode(),
            "hour": pa.array([i % 24 for i in index], pa.int8()),
            "temp": pa.array([None if i % 5 else i / 2 for i in index]),
            "distance": pa.array([float(i % 600) for i in index], pa.float64()),
        }
    )


def encode(content: pa.Table, media_type: str = STREAM) -> bytes:
    sink = io.BytesIO()
    if media_type == PARQUET:
        pq.write_table(content, sink)
        return sink.getvalue()
    with (pa.ipc.new_stream if media_type == STREAM else pa.ipc.new_file)(sink, content.schema) as writer:
        writer.write_table(content)
    return sink.getvalue()


def decode(answer: Answer) -> pa.Table:
    kind = answer.headers["content-type"]
    if kind == PARQUET:
        return pq.read_table(io.BytesIO(answer.body))
    return (pa.ipc.open_stream if kind == STREAM else pa.ipc.open_file)(answer.body).read_all()


def send(client: AsgiClient, content: pa.Table | bytes, media_type: str = STREAM, **headers: str) -> Answer:
    body = content if isinstance(content, bytes) else encode(content, media_type)
    pieces = [body[start : start + 100_000] for start in range(0, len(body), 100_000)]
    return client.post(BATCH, pieces or [b""], content_type=media_type, **headers)


def ids(entry: dict[str, Any]) -> list[str]:
    """The ids of the predictions that an entry of the journal stands for."""
    return PredictionIds(entry["id"], len(entry["predictions"])).texts()


@pytest.mark.parametrize("accept", MEDIA_TYPES)
@pytest.mark.parametrize("media_type", MEDIA_TYPES)
def test_a_batch_is_answered_as_its_rows_would_be_one_by_one(
    served: AsgiClient, journal: Journal, media_type: str, accept: str
) -> None:
    answer = send(served, table(), media_type, accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, accept)
    scored = decode(answer)
    assert scored.column_names == ["prediction_id", "flight_id", "prediction", "probability"]
    assert scored["flight_id"].to_pylist() == table()["flight_id"].to_pylist()
    assert scored.schema.metadata | {b"model": b"m", b"version": b"1", b"role": b"champion"} == scored.schema.metadata
    assert scored.schema.metadata[b"rows"] == b"20000"
    about = [answer.headers[name] for name in ("x-model", "x-model-version", "x-model-role")]
    assert about == ["m", "1", "champion"]
    records = table().slice(9_900, 100).to_pylist()
    alone = served.post("/models/m/predict", {"records": records}).json()["predictions"]
    for name in ("prediction", "probability"):
        assert scored[name].slice(9_900, 100).to_pylist() == [one[name] for one in alone]
    written = [identity for entry in journal()[:-1] for identity in ids(entry)]
    assert scored["prediction_id"].to_pylist() == written
    assert len(set(written)) == ROWS


def test_a_regressor_has_no_probabilities(served: AsgiClient, registry: FakeRegistry, regressor_dir: Path) -> None:
    registry.add("minutes", regressor_dir)
    wait_for(lambda: served.get("/models").body.count(b"minutes") > 0)
    body = encode(table(100).drop_columns(["flight_id"]))
    scored = decode(served.post("/models/minutes/batch", body, content_type=STREAM))
    assert scored.column_names == ["prediction_id", "prediction", "probability"]
    assert scored["prediction"].type == pa.float64()
    assert scored["probability"].null_count == 100


@pytest.mark.parametrize("accept", MEDIA_TYPES)
def test_no_rows_get_no_predictions(served: AsgiClient, accept: str) -> None:
    scored = decode(send(served, table(0), accept=accept))
    assert scored.num_rows == 0
    assert scored.schema.field("prediction").type == pa.bool_()


def changed(name: str, values: Any) -> pa.Table:
    whole = table()
    return whole.set_column(whole.column_names.index(name), name, values)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (table().append_column("wind", table()["temp"]), "field 'wind': expected only known columns"),
        (table().drop_columns(["distance"]), "field 'distance': expected a finite number, got nothing: the column is"),
        (changed("hour", table()["carrier"]), "field 'hour': expected a column for 'long': an integer, or a float of"),
        (
            changed("distance", pa.array([None if i == 17_000 else 1.0 for i in range(ROWS)])),
            "row 17000, field 'distance': expected a finite number, got null",
        ),
        (
            changed("distance", pa.array([float("nan") if i == 17_000 else 1.0 for i in range(ROWS)])),
            "row 17000, field 'distance': expected a finite number, got null",
        ),
        (
            changed("flight_id", pa.array(["x" * 501 if i == CHUNK_ROWS else "x" for i in range(ROWS)])),
            f"row {CHUNK_ROWS}, field 'flight_id': expected a string of at most 500 characters",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_scored(
    served: AsgiClient, journal: Journal, content: pa.Table, told: str
) -> None:
    answer = send(served, content)
    assert answer.status == 422
    assert told in answer.json()["error"]
    assert answer.json()["details"][0]["field"] in told
    assert not journal()
    assert 'failure_total{model="m",role="champion",status_code="422",version="1"} 1.0' in metrics(served)


def metrics(client: AsgiClient) -> str:
    return client.get("/metrics", authorization="Bearer admin-key").body.decode()


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"", {}, (400, "the body is empty")),
        (encode(table(10))[:-8], {}, (400, "not a sound Arrow stream: it has no end-of-stream marker")),
        (encode(table(10))[:-80], {}, (400, "not a sound Arrow stream: Expected to be able to read")),
        (encode(table(10)), {"media_type": FILE}, (400, "not a sound Arrow file: it does not begin and end as one")),
        (encode(table(10)), {"media_type": PARQUET}, (400, "not a sound Parquet file: Parquet magic bytes not found")),
        (b"{}", {"media_type": "application/json"}, (415, f"expected Content-Type {STREAM} or {FILE} or {PARQUET} or")),
        (b"", {"media_type": ""}, (415, "got none")),
        (b"", {"content_encoding": "gzip"}, (415, "without Content-Encoding")),
        (b"", {"accept": "text/csv"}, (406, f'the answer can be {STREAM}, {FILE}, {PARQUET}, not "text/csv"')),
        (b" " * 1_000_001, {}, (413, "larger than 1000000 bytes")),
        (b"", {"content_length": "1000001"}, (413, "larger than 1000000 bytes")),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(
    served: AsgiClient, server: Server, body: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    server.plane.settings = replace(server.plane.settings, max_batch_bytes=1_000_000)
    answer = send(served, body, **({"media_type": STREAM} | headers))
    assert answer.status == expected[0]
    assert expected[1] in answer.json()["error"]


@pytest.mark.parametrize(("query", "status"), [("version=1", 200), ("alias=champion", 200), ("version=7", 404)])
def test_parameters_of_the_query_choose_the_version(served: AsgiClient, query: str, status: int) -> None:
    assert served.post(f"{BATCH}?{query}", encode(table(10)), content_type=STREAM).status == status


def test_a_body_that_the_disk_has_no_room_for_is_refused(served: AsgiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    answer = send(served, table(10))
    assert answer.status == 503
    assert "has no room for this body" in answer.json()["error"]


def test_the_body_leaves_nothing_on_the_disk(served: AsgiClient, server: Server) -> None:
    before = set(server.plane.settings.data_dir.iterdir())
    assert send(served, table()).status == 200
    assert set(server.plane.settings.data_dir.iterdir()) == before


def test_one_answer_has_one_version_though_the_alias_moves(
    served: AsgiClient,
    server: Server,
    registry: FakeRegistry,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score = server.plane.score
    moved = []

    async def move_then_score(*arguments: Any) -> Any:
        answer = await score(*arguments)
        if not moved:
            moved.append(registry.add("m", *registry.versions["m", 1]))
            await asyncio.to_thread(wait_for, lambda: server.plane.catalog.find("m").champion.version == 2)
        return answer

    monkeypatch.setattr(server.plane, "score", move_then_score)
    scored = decode(send(served, table()))
    assert moved == [2]
    assert (scored.num_rows, scored.schema.metadata[b"version"]) == (ROWS, b"1")
    assert {entry["version"] for entry in journal()} == {1}
    assert decode(send(served, table(10))).schema.metadata[b"version"] == b"2"


@pytest.mark.parametrize("accept", MEDIA_TYPES)
def test_an_answer_that_fails_on_its_way_cannot_be_read_as_whole(
    served: AsgiClient,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    accept: str,
) -> None:
    fail_after(1, server, monkeypatch)
    answer = send(served, table(), accept=accept)
    assert answer.status == 200
    assert answer.body
    with pytest.raises((pa.ArrowInvalid, OSError)):
        decode(answer)
    assert answer.body.endswith(BROKEN_STREAM) is (accept == STREAM)
    assert f"m: the answer of version 1 to a batch ends after {CHUNK_ROWS} of {ROWS} rows" in caplog.text
    assert 'failure_total{model="m",role="champion",status_code="500",version="1"} 1.0' in metrics(served)


def test_a_model_that_fails_at_once_is_a_500(
    served: AsgiClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after(0, server, monkeypatch)
    answer = send(served, table())
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json")


def test_what_a_canary_fails_on_the_champion_answers(
    served: AsgiClient, server: Server, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, tags = registry.versions["m", 1]
    tags = tags | {CANARY_SHARE_TAG: "100"}
    registry.by_model["m"]["canary"] = registry.add("m", directory, tags, champion=False)
    wait_for(lambda: server.plane.catalog.find("m").canary is not None)
    score = server.plane.score

    async def score_of_champion(model: Any, *arguments: Any) -> Any:
        if model.role == "canary":
            raise RequestError(500, "it failed")
        return await score(model, *arguments)

    monkeypatch.setattr(server.plane, "score", score_of_champion)
    assert send(served, table(10)).headers["x-model-version"] == "1"
    assert served.post(f"{BATCH}?alias=canary", encode(table(10)), content_type=STREAM).status == 500
    assert metrics(served).count('failure_total{model="m",role="canary",status_code="500",version="2"} 2.0') == 1


def fail_after(chunks: int, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = type(server.plane.catalog.find("m").champion.engine)
    predict = engine.predict
    seen = []

    def fail(self: Any, encoded: Any) -> Any:
        seen.append(encoded)
        if len(seen) > chunks:
            raise PredictionFailed("ZeroDivisionError: by zero")
        return predict(self, encoded)

    monkeypatch.setattr(engine, "predict", fail)


def test_nothing_more_is_scored_once_the_caller_has_gone(
    served: AsgiClient, server: Server, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = asyncio.Event()
    score = server.plane.score

    async def score_and_leave(*arguments: Any) -> Any:
        left.set()
        return await score(*arguments)

    async def gone(_: HttpRequest) -> None:
        await left.wait()

    monkeypatch.setattr(HttpRequest, "gone", gone)
    monkeypatch.setattr(server.plane, "score", score_and_leave)
    send(served, table(50_000))
    assert sum(len(ids(entry)) for entry in journal()) <= 3 * CHUNK_ROWS
