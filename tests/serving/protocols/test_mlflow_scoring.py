"""MLflow's scoring protocol from a client's side: the whole application in this process."""

import json
import math
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression

from serving.protocols.mlflow_scoring_csv import parse_cells
from serving.run import Server
from tests.serving.fakes import Answer, AsgiClient, FakeRegistry, wait_for

URL = "/models/m/invocations"
NAMES = ["carrier", "hour", "temp", "distance"]
ROWS = [["UA", 5, None, 700.0], ["B6", 6, 20.5, 10.0]]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
COLUMNS = {name: [row[position] for row in ROWS] for position, name in enumerate(NAMES)}
SPLIT = {"dataframe_split": {"columns": NAMES, "data": ROWS}}
CSV = b"carrier,hour,temp,distance\nUA,5,,700.0\nB6,6,20.5,10.0\n"


def csv(client: AsgiClient, content: bytes, content_type: str = "text/csv") -> Answer:
    return client.post(URL, content, content_type=content_type)


@pytest.mark.parametrize(
    "body",
    [
        SPLIT,
        {"dataframe_split": {"index": [3, 7], "columns": NAMES[::-1], "data": [row[::-1] for row in ROWS]}},
        {"dataframe_records": RECORDS},
        {"instances": RECORDS},
        {"inputs": RECORDS},
        {"inputs": COLUMNS},
        {"instances": COLUMNS},
        {"inputs": ROWS},
        {"instances": ROWS},
        SPLIT | {"params": {"a": 1}, "signature_name": "x"},
        {"inputs": COLUMNS | {"flight_id": ["f-1", 2]}},
    ],
)
def test_every_form_of_mlflow_gives_its_answer(lasting: AsgiClient, body: Any) -> None:
    answer = lasting.post(URL, body)
    assert (answer.status, answer.json()) == (200, {"predictions": [True, False]})


def test_a_column_left_out_or_nan_is_missing(lasting: AsgiClient) -> None:
    without = {"dataframe_split": {"columns": ["carrier", "hour", "distance"], "data": [["UA", 5, 700.0]]}}
    for body in (
        without,
        {"dataframe_split": {"columns": NAMES, "data": [["UA", 5, math.nan, 700.0]]}},
        {"dataframe_records": [RECORDS[0] | {"temp": math.nan}]},
        {"inputs": {name: values[:1] for name, values in COLUMNS.items()} | {"temp": [math.nan]}},
        {"inputs": {name: values[0] for name, values in COLUMNS.items()}},
    ):
        answer = lasting.post(URL, body)
        assert (answer.status, answer.json()) == (200, {"predictions": [True]}), body


def test_headers_hold_what_mlflow_has_no_place_for(lasting: AsgiClient) -> None:
    answer = lasting.post(URL, SPLIT)
    assert answer.headers["x-model-version"] == "1"
    first = answer.headers["x-prediction-id"]
    feedback = [{"prediction_id": f"{first[:-5]}{row:05x}", "outcome": True} for row in range(2)]
    assert lasting.post("/models/m/feedback", {"feedback": feedback}).status == 202


@pytest.mark.parametrize("content_type", ["text/csv", "text/csv; charset=utf-8", "text/csv;charset=UTF-8"])
@pytest.mark.parametrize(
    "content",
    [
        CSV,
        CSV.replace(b"\n", b"\r\n").rstrip(),
        b"\xef\xbb\xbf" + CSV,
        b"distance,temp,carrier,hour\n7e2,NaN,UA, 5\n10,20.5,B6,6.0\n",
        b',carrier,hour,temp,distance\n0,"UA",5,,700.0\n\n1,"B6",6,"20.5",10.0\n',
        b"flight_id,carrier,hour,temp,distance\nf-1,UA,5,NA,700\n,B6,6,20.5,10\n",
    ],
)
def test_csv_as_pandas_writes_it(lasting: AsgiClient, content: bytes, content_type: str) -> None:
    answer = csv(lasting, content, content_type)
    assert (answer.status, answer.json()) == (200, {"predictions": [True, False]})


def test_csv_cells_are_of_their_fields_types() -> None:
    assert parse_cells("string", ("UA", "NA", "", "1")) == ["UA", "NA", None, "1"]
    assert parse_cells("long", ("5", "-7", "5.0", "", "5.5.", "1_0")) == [5, -7, 5.0, None, "5.5.", "1_0"]
    assert parse_cells("double", ("5", "1e3", "null", "x", "1_0")) == [5.0, 1000.0, None, "x", "1_0"]
    assert parse_cells("boolean", ("True", "false", "FALSE", "nan", "1")) == [True, False, False, None, "1"]
    assert parse_cells("datetime", ("2026-01-02 03:04:05", "")) == ["2026-01-02 03:04:05", None]


def test_a_matrix_model_takes_rows_without_names(serve: Callable[..., None], client: AsgiClient) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(rows, np.where(rows[:, 0] > 0, "a", "b"))
    serve("matrix", model, rows)
    expected = {"predictions": model.predict(rows).tolist()}
    frame = pd.DataFrame(rows)
    for body in (
        {"inputs": rows.tolist()},
        {"instances": rows.tolist()},
        {"dataframe_records": rows.tolist()},
        {"dataframe_split": frame.to_dict(orient="split")},
        {"dataframe_split": {"data": rows.tolist()}},
    ):
        answer = client.post("/models/matrix/invocations", body)
        assert (answer.status, answer.json()) == (200, expected), body


def test_values_are_the_only_field_of_a_model(serve: Callable[..., None], client: AsgiClient) -> None:
    frame = pd.DataFrame({"x": np.arange(40.0)})
    serve("double", LinearRegression().fit(frame, frame["x"] * 2), frame, skops_trusted_types=[])
    for body in ({"inputs": [3.0, 4]}, {"instances": [[3.0], [4.0]]}):
        answer = client.post("/models/double/invocations", body)
        assert answer.json()["predictions"] == pytest.approx([6.0, 8.0])


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        (b"[" * 10_000, 400, "the body is not JSON"),
        (b'{"inputs": [NaN' + b"[" * 10_000, 400, "the body is not JSON"),
        (b'{"inputs": ' + b"[" * 900 + b"]" * 900 + b"}", 400, "row 0 of inputs: expected a list of 4 values, got"),
        (b"[1]", 400, "expected a JSON object with exactly one of the keys dataframe_split, dataframe_records, inst"),
        ({}, 400, "got the keys: none"),
        ({"dataframe": 1}, 400, 'got the keys: "dataframe"'),
        (SPLIT | {"inputs": ROWS}, 400, 'got the keys: "dataframe_split", "inputs"'),
        ({"dataframe_split": ROWS}, 400, 'dataframe_split: expected {"columns": [...], "data": [[...], ...]}'),
        ({"dataframe_split": {"columns": NAMES}}, 400, "dataframe_split: expected"),
        ({"dataframe_split": SPLIT["dataframe_split"] | {"x": 1}}, 400, "dataframe_split: expected"),
        ({"dataframe_split": {"columns": NAMES, "data": []}}, 400, "dataframe_split.data: expected a list of at least"),
        ({"dataframe_split": {"columns": NAMES, "data": [1]}}, 400, "row 0 of dataframe_split.data: expected a list"),
        (
            {"dataframe_split": {"columns": NAMES, "data": [ROWS[0], ROWS[1][:3]]}},
            400,
            "row 1 of dataframe_split.data: expected a list of 4 values, got a list of 3",
        ),
        ({"dataframe_split": {"columns": NAMES, "data": ROWS, "index": [1]}}, 400, "dataframe_split.index: expected"),
        ({"dataframe_split": {"columns": "abcd", "data": ROWS}}, 400, "dataframe_split.columns: expected a list of"),
        ({"dataframe_split": {"columns": ["x", "x"], "data": [[1, 2]]}}, 400, '"x" is there twice'),
        ({"dataframe_split": {"data": ROWS}}, 422, "field '0': expected only known columns"),
        ({"dataframe_split": {"columns": [*NAMES, "x"], "data": [[*ROWS[0], 1]]}}, 422, "field 'x': expected only kn"),
        ({"dataframe_split": {"columns": NAMES[:3], "data": [ROWS[0][:3]]}}, 422, "field 'distance': expected a fin"),
        ({"dataframe_records": RECORDS[0]}, 400, "dataframe_records: expected a list of at least one row, got an obj"),
        ({"dataframe_records": []}, 400, "dataframe_records: expected a list of at least one row, got an empty list"),
        ({"dataframe_records": [RECORDS[0], 1]}, 422, "row 1: expected an object"),
        ({"dataframe_records": [RECORDS[0] | {"hour": 1.5}]}, 422, "row 0, field 'hour': expected an integer"),
        ({"dataframe_records": [RECORDS[0] | {"distance": math.nan}]}, 422, "field 'distance': expected a finite"),
        ({"dataframe_records": [RECORDS[0] | {"distance": math.inf}]}, 422, "number, got Infinity"),
        ({"dataframe_records": [RECORDS[0] | {"x": 1}]}, 422, "row 0, field 'x': expected only known fields"),
        ({"inputs": COLUMNS | {"hour": [1]}}, 400, 'inputs, column "hour": expected a list of 2 values'),
        ({"inputs": COLUMNS | {"hour": 1}}, 400, 'inputs, column "hour": expected a list of 2 values as the other'),
        (
            {"inputs": {name: [] for name in NAMES}},
            400,
            'column "carrier": expected at least one value, got a list of 0',
        ),
        ({"inputs": {}}, 400, "inputs: expected at least one column, got an empty object"),
        ({"inputs": COLUMNS | {"hour": [[5], [6]]}}, 422, "row 0, field 'hour': expected an integer"),
        ({"inputs": "text"}, 400, 'inputs: expected a list of at least one row, got "text"'),
        ({"inputs": [ROWS[0], RECORDS[0]]}, 400, "row 1 of inputs: expected a list of 4 values, got an object"),
        ({"inputs": [1, 2]}, 400, "row 0 of inputs: expected a list of 4 values, got a list of 1"),
        ({"instances": [[ROWS]]}, 400, "row 0 of instances: expected a list of 4 values, got a list of 1"),
        (b" " * 20_001, 413, "larger than 20000 bytes"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong(lasting: AsgiClient, body: Any, status: int, message: str) -> None:
    answer = lasting.post(URL, body)
    assert (answer.status, set(answer.json())) == (status, {"error_code", "message"})
    assert message in answer.json()["message"]
    code = "INVALID_PARAMETER_VALUE" if status == 422 else "BAD_REQUEST"
    assert answer.json()["error_code"] == code


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "expected a header line with the columns' names and at least one row, got no row"),
        (b"carrier,hour\n", 400, "got no row"),
        (CSV + b"UA,5\n", 400, "row 2: expected 4 cells as in the header, got 2"),
        (CSV + b"UA,5,1,2,3\n", 400, "row 2: expected 4 cells as in the header, got 5"),
        (b"hour,hour\n1,2\n", 400, 'the header has "hour" twice'),
        (b"a\xff\n1\n", 400, "the body is not UTF-8: invalid start byte at byte 1"),
        (b'a\n"1\n', 400, "the body is not CSV: "),
        (b"a\n" + b"1" * 19_000, 422, "field 'a': expected only known columns"),
        (CSV.replace(b"20.5", b"warm"), 422, "row 1, field 'temp': expected a finite number, or null, got \"warm\""),
        (CSV.replace(b"20.5", b"2_0"), 422, "row 1, field 'temp': expected a finite number, or null, got \"2_0\""),
        (CSV.replace(b"10.0", b"inf"), 422, "row 1, field 'distance': expected a finite number, got Infinity"),
        (CSV.replace(b"10.0", b""), 422, "row 1, field 'distance': expected a finite number, got null"),
        (CSV.replace(b"B6", b""), 422, "row 1, field 'carrier': expected a string (without NUL), got null"),
        (CSV.replace(b"B6", b"\0"), 422, "row 1, field 'carrier': expected a string (without NUL)"),
        (CSV.replace(b"6,", b"6.5,"), 422, "row 1, field 'hour': expected an integer"),
        (CSV.replace(b"hour", b"hours"), 422, "field 'hours': expected only known columns"),
    ],
)
def test_a_bad_csv_is_told_what_is_wrong(lasting: AsgiClient, content: bytes, status: int, message: str) -> None:
    answer = csv(lasting, content)
    assert (answer.status, set(answer.json())) == (status, {"error_code", "message"})
    assert message in answer.json()["message"]


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("text/plain", 'expected Content-Type application/json or text/csv, got "text/plain"'),
        ("", "got none"),
        ("text/csv; charset=latin-1", 'expected the charset utf-8, got "latin-1"'),
        ("application/json; format=pandas-split", 'unknown parameter "format" of the Content-Type'),
    ],
)
def test_another_content_type_is_refused(lasting: AsgiClient, content_type: str, message: str) -> None:
    answer = csv(lasting, CSV, content_type)
    assert (answer.status, answer.json()["error_code"]) == (415, "BAD_REQUEST")
    assert message in answer.json()["message"]


def test_an_unknown_model_is_a_404_whatever_the_body(lasting: AsgiClient) -> None:
    expected = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no model 'nobody'; served are: m"}
    for answer in (lasting.post("/models/nobody/invocations", b"{"), lasting.get("/models/nobody/ping")):
        assert (answer.status, answer.json()) == (404, expected)


def test_before_anything_is_served_the_answer_is_503(client: AsgiClient, server: Server) -> None:
    wait_for(lambda: server.follower.catalog.complete)
    for answer in (client.post(URL, SPLIT), client.get("/models/m/ping")):
        assert (answer.status, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


def test_a_failed_registry_asks_to_come_back(registry: FakeRegistry, request: pytest.FixtureRequest) -> None:
    registry.down = True
    client: AsgiClient = request.getfixturevalue("client")
    answer = client.post(URL, SPLIT)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("base", ["/models/m", "/models/m/versions/1", "/models/m/versions/champion"])
def test_the_pages_of_mlflows_server_are_below_the_model(lasting: AsgiClient, base: str) -> None:
    for page in ("ping", "health"):
        answer = lasting.get(f"{base}/{page}")
        assert (answer.status, answer.body) == (200, b"\n")
    assert lasting.get(f"{base}/version").body.decode() == metadata.version("mlflow-skinny")
    assert lasting.post(f"{base}/invocations", SPLIT).json() == {"predictions": [True, False]}


@pytest.mark.parametrize("url", ["/models/m/versions/2/invocations", f"{URL}?version=2", f"{URL}?alias=canary"])
def test_a_version_that_is_not_served_is_a_404_that_lists_what_is(lasting: AsgiClient, url: str) -> None:
    answer = lasting.post(url, SPLIT)
    assert answer.status == 404
    assert "served are: version 1 (champion)" in answer.json()["message"]


def test_all_that_is_wrong_is_in_the_one_message(lasting: AsgiClient) -> None:
    body = {"dataframe_records": [RECORDS[0] | {"hour": "x"}, RECORDS[1] | {"distance": None}]}
    first, second = lasting.post(URL, json.dumps(body).encode()).json()["message"].split("; ")
    assert first.startswith("row 0, field 'hour': expected an integer")
    assert second.startswith("row 1, field 'distance': expected a finite number, got null")
