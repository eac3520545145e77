"""MLServer's codecs against the Open Inference Protocol: what they encode is understood, and they decode the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import KINDS, Sample
from mlserver.codecs import (
    Base64Codec,
    DatetimeCodec,
    NumpyCodec,
    NumpyRequestCodec,
    PandasCodec,
    StringCodec,
    StringRequestCodec,
)
from mlserver.types import (
    InferenceErrorResponse,
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    Parameters,
    RepositoryIndexResponse,
    RequestInput,
    RequestOutput,
)

from tools.model_server import ModelServer

Samples = Callable[[str], Sample]


def _infer(server: ModelServer, model: str, request: InferenceRequest) -> InferenceResponse:
    body = request.model_dump_json(exclude_none=True).encode()
    json = {"Content-Type": "application/json"}
    answer = server.call("POST", f"/v2/models/{model}/infer", body, headers=json)
    assert answer.status == 200, answer.body
    return InferenceResponse.model_validate_json(answer.body)


def _text(sample: Sample) -> Any:
    """A frame as its users send it, since the codec has no type for moments and writes no text with gaps."""
    return sample.frame.assign(moment=sample.frame["moment"].map(lambda moment: moment.isoformat())).drop(
        columns="note"
    )


@pytest.mark.parametrize("kind", ["numeric", "regression", "strings"])
def test_a_frame(server: ModelServer, sample: Samples, kind: str) -> None:
    expected = sample(kind)
    decoded = PandasCodec.decode_response(_infer(server, kind, PandasCodec.encode_request(expected.frame)))
    assert decoded["predict"].tolist() == pytest.approx(expected.predictions)
    if expected.probabilities is not None:
        assert decoded["probability"].tolist() == pytest.approx(expected.probabilities)


def test_a_frame_of_every_type_and_with_gaps(server: ModelServer, sample: Samples) -> None:
    expected = sample("typed")
    request = PandasCodec.encode_request(_text(expected))
    assert "null" in request.model_dump_json()
    decoded = PandasCodec.decode_response(_infer(server, "typed", request))
    assert decoded["predict"].tolist() == expected.predictions
    assert decoded["probability"].tolist() == pytest.approx(expected.probabilities)


def test_the_samples_frame(server: ModelServer, sample: Samples) -> None:
    expected = sample("mixed")
    decoded = PandasCodec.decode_response(_infer(server, "mixed", PandasCodec.encode_request(expected.frame)))
    assert decoded["probability"].tolist() == pytest.approx(expected.probabilities)


@pytest.mark.parametrize("kind", ["numeric", "tensor", "regression"])
def test_an_array(server: ModelServer, sample: Samples, kind: str) -> None:
    expected = sample(kind)
    response = _infer(server, kind, NumpyRequestCodec.encode_request(expected.frame.to_numpy()))
    decoded = NumpyRequestCodec.decode_response(response)
    assert decoded.shape == (len(expected.predictions), 1)
    assert decoded.ravel().tolist() == pytest.approx(expected.predictions)


def test_an_array_with_gaps(server: ModelServer) -> None:
    rows = np.zeros((2, 12))
    rows[0, 3] = np.nan
    request = NumpyRequestCodec.encode_request(rows)
    assert request.inputs[0].data[3] is None
    answer = server.call("POST", "/v2/models/tensor/infer", request.model_dump())
    assert answer.status == 200, answer.body


def test_strings_come_back(server: ModelServer, sample: Samples) -> None:
    expected = sample("strings")
    request = NumpyRequestCodec.encode_request(expected.frame.to_numpy())
    assert StringRequestCodec.decode_response(_infer(server, "strings", request)) == expected.predictions
    decoded = NumpyRequestCodec.decode_response(_infer(server, "strings", request))
    assert decoded.ravel().tolist() == expected.predictions


def test_inputs_of_their_own_codecs(server: ModelServer, sample: Samples) -> None:
    expected = sample("typed")
    frame = expected.frame
    moments = [moment.to_pydatetime() for moment in frame["moment"]]
    numbers = [
        NumpyCodec.encode_input(name, frame[name].to_numpy()) for name in ("flag", "small", "whole", "single", "real")
    ]
    for text in (
        StringCodec.encode_input("text", frame["text"].tolist()),
        Base64Codec.encode_input("text", [text.encode() for text in frame["text"]], use_bytes=False),
    ):
        inputs = [text, *numbers, DatetimeCodec.encode_input("moment", moments)]
        response = _infer(server, "typed", InferenceRequest(inputs=inputs, id="mine"))
        (predict, probability) = response.outputs
        assert NumpyCodec.decode_output(predict).ravel().tolist() == expected.predictions
        assert NumpyCodec.decode_output(probability).ravel() == pytest.approx(expected.probabilities)
        assert (response.id, response.model_name, response.model_version) == ("mine", "typed", "1")


def test_the_outputs_can_be_chosen(server: ModelServer, sample: Samples) -> None:
    expected = sample("numeric")
    request = NumpyRequestCodec.encode_request(expected.frame.to_numpy())
    request.outputs = [RequestOutput(name="probability")]
    decoded = NumpyRequestCodec.decode_response(_infer(server, "numeric", request))
    assert decoded.ravel() == pytest.approx(expected.probabilities)


def test_metadata_index_and_errors_are_of_its_types(server: ModelServer) -> None:
    for kind in KINDS:
        metadata = MetadataModelResponse.model_validate_json(server.call("GET", f"/v2/models/{kind}").body)
        assert (metadata.name, metadata.versions) == (kind, ["1"])
    index = RepositoryIndexResponse.model_validate_json(server.call("POST", "/v2/repository/index", {}).body)
    assert sorted(one.name for one in index) == sorted(KINDS)
    wrong = RequestInput(name="f0", shape=[1], datatype="FP64", data=["x"], parameters=Parameters(content_type="np"))
    answer = server.call("POST", "/v2/models/numeric/infer", InferenceRequest(inputs=[wrong]).model_dump(mode="json"))
    assert answer.status == 422
    message = InferenceErrorResponse.model_validate_json(answer.body).error
    assert message == 'row 0, input "f0": expected a number (FP64), got "x"'
