"""The Open Inference Protocol from a client's side: the whole application in this process."""

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from serving.errors import RequestError
from serving.models.signature import Field, Signature
from serving.protocols.open_inference_codec import parse_tensor, to_columns
from serving.run import Server
from tests.serving.fakes import Answer, AsgiClient, FakeRegistry, wait_for
from tests.serving.protocols.open_inference_requests import INFER, body, tensor


def outputs(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {one["name"]: one for one in answer.json()["outputs"]}


def predictions(answer: Answer) -> list[Any]:
    return list(outputs(answer)["predict"]["data"])


def test_columns_are_predicted(served: AsgiClient) -> None:
    answer = served.post(INFER, body(id="42"))
    content = answer.json()
    assert (content["model_name"], content["model_version"], content["id"]) == ("m", "1", "42")
    (predict, probability) = content["outputs"]
    assert predict == {
        "name": "predict",
        "shape": [2, 1],
        "datatype": "BOOL",
        "parameters": {"content_type": "np"},
        "data": [True, False],
    }
    assert (probability["name"], probability["datatype"], probability["shape"]) == ("probability", "FP64", [2, 1])
    assert probability["data"][0] > 0.5 > probability["data"][1]


def test_a_request_without_an_id_gets_that_of_the_log(served: AsgiClient) -> None:
    answer = served.post(INFER, body(), x_request_id="abc")
    assert answer.json()["id"] == "abc"


def test_feedback_can_be_given_with_the_ids_of_the_answer(served: AsgiClient) -> None:
    identities = served.post(INFER, body()).json()["parameters"]["prediction_ids"]
    assert len(set(identities)) == 2
    feedback = [{"prediction_id": identity, "outcome": True} for identity in identities]
    assert served.post("/models/m/feedback", {"feedback": feedback}).json()["accepted"] == 2


def test_the_same_values_give_the_same_answer_in_every_form(served: AsgiClient) -> None:
    expected = outputs(served.post(INFER, body()))["probability"]["data"]
    reordered = {"inputs": body()["inputs"][::-1]}
    nested = body(tensor("hour", "INT64", [[5], [6]], [2, 1]), tensor("carrier", "BYTES", ["UA", "B6"], [2, 1]))
    pandas_like = body(
        tensor("carrier", "BYTES", ["UA", "B6"], [2, 1], content_type="str"),
        tensor("temp", "FP64", [None, 20.5], [2, 1], content_type="np"),
        parameters={"content_type": "pd"},
    )
    encoded = [base64.b64encode(text).decode() for text in (b"UA", b"B6")]
    as_base64 = body(tensor("carrier", "BYTES", encoded, content_type="base64"))
    as_json = body(tensor("carrier", "BYTES", ['"UA"', '"B6"'], content_type="pd_json"))
    other_numbers = body(tensor("hour", "UINT8", [5, 6]), tensor("distance", "INT16", [700, 10]))
    for request in (reordered, nested, pandas_like, as_base64, as_json, other_numbers):
        assert outputs(served.post(INFER, request))["probability"]["data"] == expected, request


@pytest.mark.parametrize("datatype", ["UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"])
def test_every_integer_datatype_keeps_its_range(served: AsgiClient, datatype: str) -> None:
    assert predictions(served.post(INFER, body(tensor("distance", datatype, [127, 0])))) == [False, False]
    bits = int(datatype.lstrip("UINT"))
    over = 1 << (bits if datatype.startswith("U") else bits - 1)
    # JSON numbers beyond 64 bits come as floats
    got = over if over < 1 << 64 else float(over)
    under = -1 if datatype.startswith("U") else -over - 1
    for wrong, shown in ((over, got), (under, under if bits < 64 or under == -1 else float(under))):
        answer = served.post(INFER, body(tensor("distance", datatype, [1, wrong])))
        limits = f"an integer from {under + 1} to {over - 1} ({datatype})"
        expected = f'row 1, input "distance": expected {limits}, got {json.dumps(shown)}'
        assert (answer.status, answer.json()) == (422, {"error": expected})


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_every_float_datatype_is_a_number(served: AsgiClient, datatype: str) -> None:
    assert predictions(served.post(INFER, body(tensor("distance", datatype, [700.5, 3])))) == [True, False]
    answer = served.post(INFER, body(tensor("distance", datatype, [1.0, "2"])))
    assert answer.json()["error"] == f'row 1, input "distance": expected a number ({datatype}), got "2"'


def test_a_missing_value_is_null_or_nan_where_the_field_may_be_missing(served: AsgiClient) -> None:
    expected = outputs(served.post(INFER, body()))
    nan = json.dumps(body(tensor("temp", "FP64", [math.nan, 20.5]))).encode()
    assert outputs(served.post(INFER, nan)) == expected
    left_out = {"inputs": [one for one in body()["inputs"] if one["name"] != "temp"]}
    assert predictions(served.post(INFER, left_out)) == [True, False]
    for missing in (None, math.nan):
        answer = served.post(INFER, body(tensor("distance", "FP64", [1.0, missing])))
        expected_error = {"error": "row 1, field 'distance': expected a finite number, got null"}
        assert (answer.status, answer.json()) == (422, expected_error)


def test_a_matrix_holds_the_fields_in_their_order(serve: Callable[..., None], client: AsgiClient) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    frame = pd.DataFrame(rows, columns=["b", "c", "a"])
    target = np.where(rows[:, 0] > 0, "yes", "no")
    serve("frame", HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(frame, target), frame)
    serve("matrix", HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(rows, target), rows)
    expected = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5).fit(rows, target).predict(rows).tolist()
    flat = {"inputs": [tensor("x", "FP64", rows.ravel().tolist(), [40, 3])]}
    nested = {"inputs": [tensor("x", "FP64", rows.tolist(), [40, 3])]}
    for name in ("frame", "matrix"):
        for request in (flat, nested):
            predict = outputs(client.post(f"/v2/models/{name}/infer", request))["predict"]
            assert predict["data"] == expected
            assert (predict["datatype"], predict["parameters"]) == ("BYTES", {"content_type": "str"})
    answer = client.post("/v2/models/frame/infer", {"inputs": [tensor("x", "FP64", [1.0] * 4, [2, 2])]})
    expected_shape = "[2] for one field, or [2, 3] for all of the model's fields in their order"
    assert answer.json() == {"error": f'input "x": expected shape {expected_shape}, got [2, 2]'}
    assert client.get("/v2/models/matrix").json()["inputs"] == [
        {"name": "input-0", "datatype": "FP64", "shape": [-1, 3]}
    ]


def test_a_regressor_has_one_output(serve: Callable[..., None], client: AsgiClient) -> None:
    frame = pd.DataFrame({"x": np.arange(40.0)})
    serve("double", LinearRegression().fit(frame, frame["x"] * 2), frame, skops_trusted_types=[])
    predict = outputs(client.post("/v2/models/double/infer", {"inputs": [tensor("any", "FP64", [3.0], [1, 1])]}))
    assert list(predict) == ["predict"]
    assert predict["predict"]["datatype"] == "FP64"
    assert predict["predict"]["data"] == pytest.approx([6.0])
    assert [one["name"] for one in client.get("/v2/models/double").json()["outputs"]] == ["predict"]
    answer = client.post(
        "/v2/models/double/infer", {"inputs": [tensor("x", "FP64", [3.0])], "outputs": [{"name": "probability"}]}
    )
    assert (answer.status, answer.json()) == (
        400,
        {"error": 'no output "probability"; this model\'s outputs are predict'},
    )


def test_the_asked_outputs_come_in_their_order(served: AsgiClient) -> None:
    asked = [{"name": "probability", "parameters": {"binary_data": True}}, {"name": "predict"}]
    assert list(outputs(served.post(INFER, body(outputs=asked)))) == ["probability", "predict"]
    assert list(outputs(served.post(INFER, body(outputs=asked[:1])))) == ["probability"]


@pytest.mark.parametrize("content_type", ["np", "str"])
def test_a_codec_of_one_tensor_gets_one(served: AsgiClient, content_type: str) -> None:
    assert list(outputs(served.post(INFER, body(parameters={"content_type": content_type})))) == ["predict"]


def test_null_is_as_good_as_left_out(served: AsgiClient) -> None:
    inputs = [one | {"parameters": None} for one in body()["inputs"]]
    answer = served.post(INFER, {"id": None, "parameters": None, "inputs": inputs, "outputs": None})
    assert list(outputs(answer)) == ["predict", "probability"]


def test_a_client_may_leave_the_content_type_out(served: AsgiClient) -> None:
    assert predictions(served.post(INFER, body(), content_type="")) == [True, False]


@pytest.mark.parametrize("version", ["1", "champion"])
def test_a_version_is_named_by_number_or_alias(served: AsgiClient, version: str) -> None:
    base = f"/v2/models/m/versions/{version}"
    assert served.post(f"{base}/infer", body()).json()["model_version"] == "1"
    assert served.get(f"{base}/ready").json() == {"name": "m", "ready": True}
    assert served.get(base).json()["versions"] == ["1"]


@pytest.mark.parametrize(("version", "kind"), [("7", "version"), ("canary", "alias")])
def test_a_version_that_is_not_served_is_a_404_that_lists_what_is(served: AsgiClient, version: str, kind: str) -> None:
    for path, method in (("/infer", "POST"), ("/ready", "GET"), ("", "GET")):
        url = f"/v2/models/m/versions/{version}{path}"
        answer = served.post(url, body()) if method == "POST" else served.get(url)
        assert answer.status == 404
        expected = f"no {kind} '{version}' of this model is served; served are: version 1 (champion)"
        assert answer.json() == {"error": expected}


def test_an_unknown_model_is_a_404_whatever_the_body(served: AsgiClient) -> None:
    for answer in (served.post("/v2/models/nobody/infer", b"{"), served.get("/v2/models/nobody/ready")):
        assert (answer.status, answer.json()) == (404, {"error": "no model 'nobody'; served are: m"})


def test_before_anything_is_served_the_answer_is_503(client: AsgiClient, server: Server) -> None:
    wait_for(lambda: server.follower.catalog.complete)
    for answer in (client.post(INFER, body()), client.get("/v2/models/m/ready"), client.get("/v2/models/m")):
        assert answer.status == 503
        assert "'m' has no champion yet" in answer.json()["error"]


def test_the_metadata_describe_a_request_that_works(served: AsgiClient) -> None:
    content = served.get("/v2/models/m").json()
    assert (content["name"], content["versions"], content["platform"]) == ("m", ["1"], "sklearn_mlflow")
    assert content["inputs"] == [
        {"name": "carrier", "datatype": "BYTES", "shape": [-1]},
        {"name": "hour", "datatype": "INT64", "shape": [-1]},
        {"name": "temp", "datatype": "FP64", "shape": [-1]},
        {"name": "distance", "datatype": "FP64", "shape": [-1]},
    ]
    found = outputs(served.post(INFER, body()))
    assert [one["name"] for one in content["outputs"]] == list(found)
    for one in content["outputs"]:
        assert found[one["name"]] | one == found[one["name"]] | {"shape": [-1, 1]}


def test_moments_are_strings(serve: Callable[..., None], client: AsgiClient) -> None:
    frame = pd.DataFrame({"x": np.arange(40.0), "at": pd.date_range("2026-01-01", periods=40)})
    model = make_pipeline(make_column_transformer(("passthrough", ["x"])), HistGradientBoostingRegressor())
    serve("moments", model.fit(frame, frame["x"]), frame)
    (_, at) = client.get("/v2/models/moments").json()["inputs"]
    assert at == {"name": "at", "datatype": "BYTES", "shape": [-1], "parameters": {"content_type": "datetime"}}
    given = tensor("at", "BYTES", ["2026-02-03T04:05:06"], [1, 1], content_type="datetime")
    assert len(predictions(client.post("/v2/models/moments/infer", {"inputs": [tensor("x", "FP64", [1]), given]}))) == 1


def test_the_server_says_what_it_is(served: AsgiClient) -> None:
    for path in ("/v2", "/v2/"):
        content = served.get(path).json()
        assert set(content) == {"name", "version", "extensions"}
        assert isinstance(content["extensions"], list)


def test_health_needs_no_key(client: AsgiClient, registry: FakeRegistry) -> None:
    assert client.get("/v2/health/live", authorization="").json() == {"live": True}
    wait_for(lambda: client.get("/v2/health/ready", authorization="").status == 200)
    assert client.get("/v2/models/m/ready", authorization="").status == 401


def test_the_server_is_ready_once_the_registry_was_read(registry: FakeRegistry, request: pytest.FixtureRequest) -> None:
    registry.down = True
    client: AsgiClient = request.getfixturevalue("client")
    assert client.get("/v2/health/live").status == 200
    assert client.get("/v2/health/ready").status == 503
    registry.down = False
    wait_for(lambda: client.get("/v2/health/ready").status == 200)


def test_the_index_lists_what_serves_and_what_does_not(
    served: AsgiClient, registry: FakeRegistry, model_dir: Path, server: Server
) -> None:
    registry.add("broken", model_dir, {})
    wait_for(lambda: bool(server.follower.catalog.failures))
    answer = served.call("POST", "/v2/repository/index", [b""], {})
    (broken, good) = answer.json()
    assert good == {"name": "m", "version": "1", "state": "READY", "reason": ""}
    assert (broken["name"], broken["version"], broken["state"]) == ("broken", "1", "UNAVAILABLE")
    assert "no valid tag" in broken["reason"]
    assert served.post("/v2/repository/index", {"ready": True}).json() == [good]
    assert served.post("/v2/repository/index", {"ready": 1}).status == 400


@pytest.mark.parametrize("word", ["load", "unload"])
def test_models_are_not_loaded_by_request(served: AsgiClient, word: str) -> None:
    answer = served.post(f"/v2/repository/models/m/{word}", {})
    assert answer.status == 400
    assert "set the alias 'champion', 'canary' or 'shadow' of 'm'" in answer.json()["error"]


def test_an_entity_key_comes_as_a_column_beside_the_fields(served: AsgiClient, server: Server) -> None:
    assert predictions(served.post(INFER, body(tensor("flight_id", "INT64", [7, 8])))) == [True, False]
    signature = Signature([Field("a", "double", True), Field("b", "double", True)])
    matrix = parse_tensor(0, tensor("x", "FP64", [1.0, 2.0, 3.0, 4.0], [2, 2]))
    key = parse_tensor(1, tensor("id", "BYTES", ["k", "l"]))
    assert to_columns([matrix, key], signature) == ({"a": [1.0, 3.0], "b": [2.0, 4.0], "id": ["k", "l"]}, 2)
    with pytest.raises(RequestError, match='field "a" is given twice'):
        to_columns([matrix, parse_tensor(1, tensor("a", "FP64", [1.0, 2.0]))], signature)
