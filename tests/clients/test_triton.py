"""Triton's HTTP client against the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from conftest import KINDS, Sample
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from tools.model_server import HOST, ModelServer

Samples = Callable[[str], Sample]
Infer = Callable[..., InferResult]


@pytest.fixture(scope="module")
def client(server: ModelServer) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(f"{HOST}:{server.port}") as client:
        yield client


@pytest.fixture
def infer(client: InferenceServerClient, bearer: dict[str, str]) -> Infer:
    """Return a function that sends arrays by the names of inputs."""

    def infer(model: str, arrays: dict[str, np.ndarray], **options: Any) -> InferResult:
        return client.infer(model, [_tensor(*item) for item in arrays.items()], headers=dict(bearer), **options)

    return infer


def _tensor(name: str, array: np.ndarray) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return tensor.set_data_from_numpy(array, binary_data=False)


def _arrays(sample: Sample) -> dict[str, np.ndarray]:
    """A tensor a column; a moment as text, and no column that has gaps, which no numpy array of Triton's has."""
    frame = sample.frame.dropna(axis="columns")
    texts = {name: frame[name].map(str).to_numpy(object) for name in frame.select_dtypes(["object", "datetime"])}
    return {name: frame[name].to_numpy() for name in frame} | texts


def test_health_metadata_and_index(client: InferenceServerClient, bearer: dict[str, str]) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert set(client.get_server_metadata(headers=bearer)) == {"name", "version", "extensions"}
    for kind in KINDS:
        assert client.is_model_ready(kind, headers=bearer)
        assert client.is_model_ready(kind, "1", headers=bearer)
    assert not client.is_model_ready("nobody", headers=bearer)
    assert not client.is_model_ready("typed", "2", headers=bearer)
    index = client.get_model_repository_index(headers=bearer)
    assert [(one["name"], one["version"], one["state"]) for one in index] == [
        (kind, "1", "READY") for kind in sorted(KINDS)
    ]


def test_the_metadata_name_the_inputs_that_infer_takes(
    client: InferenceServerClient, bearer: dict[str, str], sample: Samples
) -> None:
    metadata = client.get_model_metadata("typed", headers=bearer)
    frame = sample("typed").frame
    given = {one["name"]: one["datatype"] for one in metadata["inputs"]}
    expected = dict(zip(frame, ["BYTES", "BOOL", "INT32", "INT64", "FP32", "FP64", "BYTES", "BYTES"], strict=True))
    assert given == expected
    assert [(one["name"], one["datatype"]) for one in metadata["outputs"]] == [
        ("predict", "BOOL"),
        ("probability", "FP64"),
    ]


def test_every_type_of_column_is_predicted(infer: Infer, sample: Samples) -> None:
    typed = sample("typed")
    whole = typed.frame.notna().all(axis="columns")
    rows = Sample(typed.frame[whole], np.array(typed.predictions)[whole].tolist(), None)
    result = infer("typed", _arrays(rows), request_id="7")
    assert result.as_numpy("predict").ravel().tolist() == rows.predictions
    assert result.as_numpy("predict").dtype == bool
    assert result.as_numpy("probability").ravel() == pytest.approx(np.array(typed.probabilities)[whole])
    assert result.get_response()["id"] == "7"
    assert len(result.get_response()["parameters"]["prediction_ids"]) == len(rows.predictions)


def test_columns_with_gaps_may_be_left_out(infer: Infer, sample: Samples) -> None:
    arrays = _arrays(sample("typed"))
    assert "real" not in arrays
    assert infer("typed", arrays).as_numpy("predict").shape == (50, 1)


@pytest.mark.parametrize("kind", ["numeric", "regression", "strings", "tensor"])
def test_one_matrix_is_predicted(infer: Infer, sample: Samples, kind: str) -> None:
    expected = sample(kind)
    result = infer(kind, {"x": expected.frame.to_numpy()})
    assert result.as_numpy("predict").ravel().tolist() == pytest.approx(expected.predictions)
    probability = result.as_numpy("probability")
    if expected.probabilities is None:
        assert probability is None
    else:
        assert probability.ravel() == pytest.approx(expected.probabilities)


def test_only_the_requested_output_comes(infer: Infer, sample: Samples) -> None:
    matrix = sample("numeric").frame.to_numpy()
    asked = [InferRequestedOutput("probability", binary_data=False)]
    result = infer("numeric", {"x": matrix}, outputs=asked)
    assert [one["name"] for one in result.get_response()["outputs"]] == ["probability"]
    with pytest.raises(InferenceServerException, match="this model's outputs are predict, probability"):
        infer("numeric", {"x": matrix}, outputs=[InferRequestedOutput("logits", binary_data=False)])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"])
def test_integers_are_widened(infer: Infer, dtype: str) -> None:
    rows = np.arange(24).reshape(2, 12)
    expected = infer("numeric", {"x": rows.astype("float64")}).as_numpy("probability")
    assert (infer("numeric", {"x": rows.astype(dtype)}).as_numpy("probability") == expected).all()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_floats_are_widened(infer: Infer, dtype: str) -> None:
    rows = (np.arange(24).reshape(2, 12) / 8).astype(dtype)
    expected = infer("numeric", {"x": rows.astype("float64")}).as_numpy("probability")
    assert (infer("numeric", {"x": rows}).as_numpy("probability") == expected).all()


def test_a_version_and_an_alias_can_be_named(infer: Infer, sample: Samples) -> None:
    matrix = sample("numeric").frame.to_numpy()
    for version in ("1", "champion"):
        assert infer("numeric", {"x": matrix}, model_version=version).get_response()["model_version"] == "1"
    with pytest.raises(InferenceServerException, match=r"served are: version 1 \(champion\)") as refused:
        infer("numeric", {"x": matrix}, model_version="2")
    assert refused.value.status() == "404"


def test_errors_are_read_by_the_client(client: InferenceServerClient, infer: Infer, bearer: dict[str, str]) -> None:
    with pytest.raises(
        InferenceServerException, match=r"input \"x\": expected shape \[1\] for one field, or \[1, 12\]"
    ):
        infer("numeric", {"x": np.zeros((1, 3))})
    with pytest.raises(InferenceServerException, match="no model 'nobody'; served are: mixed, numeric"):
        infer("nobody", {"x": np.zeros((1, 3))})
    binary = InferInput("x", [1, 12], "FP64").set_data_from_numpy(np.zeros((1, 12)), binary_data=True)
    with pytest.raises(InferenceServerException, match="binary_data=False") as refused:
        client.infer("numeric", [binary], headers=dict(bearer))
    assert refused.value.status() == "400"
    with pytest.raises(InferenceServerException, match="no valid API key") as refused:
        client.infer("numeric", [_tensor("x", np.zeros((1, 12)))])
    assert refused.value.status() == "401"
    with pytest.raises(InferenceServerException, match="models are not loaded by request"):
        client.load_model("numeric", headers=bearer)
    with pytest.raises(InferenceServerException, match="models are not loaded by request"):
        client.unload_model("numeric", headers=bearer)
