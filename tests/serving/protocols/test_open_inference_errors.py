"""What is wrong with an inference request is told, and never an error of the server."""

from typing import Any

import pytest

from tests.serving.fakes import AsgiClient
from tests.serving.protocols.open_inference_requests import INFER, body, tensor


@pytest.mark.parametrize(
    ("request_body", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        (b"[" * 100_00, 400, "the body is not JSON"),
        (b'{"inputs": NaN' + b"[" * 10_000, 400, "the body is not JSON"),
        (b"[]", 400, 'expected a body like {"inputs": [...]}, got a list'),
        ({}, 400, "inputs: expected a list of at least one tensor, got null"),
        ({"inputs": []}, 400, "inputs: expected a list of at least one tensor"),
        ({"inputs": [1]}, 400, "inputs, item 0: expected an object with name, shape, datatype and data"),
        ({"inputs": [{"name": 1}]}, 400, "inputs, item 0: expected a name (a string), got 1"),
        (body(id=42), 400, "id: expected a string, got 42"),
        (b'{"id": "\\ud800", "inputs": [NaN]}', 400, "id: expected a string"),
        (body(parameters=[1]), 400, "parameters: expected an object, got a list"),
        (body(parameters=""), 400, 'parameters: expected an object, got ""'),
        (body(tensor("hour", "INT64", [5, 6]) | {"parameters": 0}), 400, "expected parameters as an object, got 0"),
        (body(outputs="predict"), 400, 'outputs: expected a list of objects like {"name": "predict"}'),
        (body(outputs=[{"name": "x"}]), 400, 'no output "x"; this model\'s outputs are predict, probability'),
        (body(tensor("hour", "INT65", [5, 6])), 400, 'input "hour": expected a datatype of BOOL, FP16, FP32,'),
        (body(tensor("hour", ["INT64"], [5, 6])), 400, 'input "hour": expected a datatype of'),  # type: ignore[arg-type]
        (body(tensor("hour", "INT64", [5, 6], [2, 1, 1])), 400, "one or two whole numbers above 0, got [2, 1, 1]"),
        (body(tensor("hour", "INT64", [5, 6], [-1])), 400, "one or two whole numbers above 0, got [-1]"),
        (body(tensor("hour", "INT64", [5, 6], [2.0])), 400, "one or two whole numbers above 0, got [2.0]"),  # type: ignore[list-item]
        (body(tensor("hour", "INT64", [5, 6], "2")), 400, 'one or two whole numbers above 0, got "2"'),  # type: ignore[arg-type]
        (body(tensor("hour", "INT64", [], [0])), 400, 'input "hour": expected a shape of one or two whole numbers'),
        (body(tensor("hour", "INT64", [5, 6], [3])), 400, "expected 3 elements of data for shape [3], got 2"),
        (body(tensor("hour", "INT64", [[5]], [2, 1])), 400, "expected 2 rows of data for shape [2, 1], got 1"),
        (body(tensor("hour", "INT64", [[5], []], [2, 1])), 400, 'row 1, input "hour": expected a list of 1 for shape'),
        (body(tensor("hour", "INT64", [[5], 6], [2, 1])), 400, "expected a list of 1 for shape [2, 1], got 6"),
        (body(tensor("hour", "INT64", [[5], [6]], [2])), 422, 'row 0, input "hour": expected an integer'),
        (body(tensor("hour", "INT64", "56", [2])), 400, 'input "hour": expected data as a list, got "56"'),  # type: ignore[arg-type]
        (body(tensor("hour", "INT64", [5, 6, 7])), 400, 'expected 2 rows as in input "carrier", got 3'),
        (body(tensor("hour", "INT64", [5, 1.5])), 422, 'row 1, input "hour": expected an integer'),
        (body(tensor("hour", "FP64", [5, 1.5])), 422, "row 1, field 'hour': expected an integer"),
        (body(tensor("hour", "UINT64", [5, 2**64 - 1])), 422, "row 1, field 'hour': expected an integer"),
        (body(tensor("hour", "BOOL", [True, False])), 422, "row 0, field 'hour': expected an integer"),
        (body(tensor("hour", "BOOL", [1, 0])), 422, 'row 0, input "hour": expected true or false (BOOL), got 1'),
        (body(tensor("carrier", "BYTES", ["UA", 6])), 422, 'row 1, input "carrier": expected a string (BYTES), got 6'),
        (body(tensor("carrier", "INT64", [1, 2])), 422, "row 0, field 'carrier': expected a string"),
        (body(tensor("carrier", "BYTES", ["VUE=", "?"], content_type="base64")), 422, "expected UTF-8 text in base64"),
        (
            body(tensor("carrier", "BYTES", ["VUE=", "/w=="], content_type="base64")),
            422,
            "expected UTF-8 text in base64",
        ),
        (body(tensor("carrier", "BYTES", ["1", "[]"], content_type="pd_json")), 422, "'carrier': expected a string"),
        (body(tensor("carrier", "BYTES", ["1", "{"], content_type="pd_json")), 422, 'expected a JSON text, got "{"'),
        (body(tensor("extra", "FP64", [1, 2])), 422, "field 'extra': expected only known columns"),
        ({"inputs": body()["inputs"][:3]}, 422, "field 'distance': expected a finite number, got nothing"),
        ({"inputs": [*body()["inputs"], body()["inputs"][0]]}, 400, 'field "carrier" is given twice'),
        (body(tensor("x" * 10_000, "?", [1])), 400, "expected a datatype"),
        (body({"name": "hour", "shape": [2], "datatype": "INT64"}), 400, 'input "hour": it has no data; tensors are'),
        (b" " * 20_001, 413, "larger than 20000 bytes"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(lasting: AsgiClient, request_body: Any, status: int, message: str) -> None:
    answer = lasting.post(INFER, request_body)
    assert (answer.status, list(answer.json())) == (status, ["error"])
    assert message in answer.json()["error"]


def test_all_that_is_wrong_is_in_the_one_string(lasting: AsgiClient) -> None:
    answer = lasting.post(INFER, body(tensor("hour", "FP64", [5, 1.5]), tensor("distance", "FP64", [None, 1.0])))
    first, second = answer.json()["error"].split("; ")
    assert first.startswith("row 0, field 'distance': expected a finite number, got null")
    assert second.startswith("row 1, field 'hour': expected an integer")


def test_binary_tensors_are_refused(lasting: AsgiClient) -> None:
    content = (
        b'{"inputs": [{"name": "hour", "shape": [1], "datatype": "INT64", "parameters": {"binary_data_size": 8}}]}'
    )
    answer = lasting.post(INFER, content + bytes(8), inference_header_content_length=str(len(content)))
    assert answer.status == 400
    assert "the body has binary tensors; tensors are taken as JSON" in answer.json()["error"]


def test_another_content_type_is_refused(lasting: AsgiClient) -> None:
    answer = lasting.post(INFER, body(), content_type="application/octet-stream")
    assert (answer.status, list(answer.json())) == (415, ["error"])
