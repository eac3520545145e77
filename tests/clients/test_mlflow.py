"""MLflow's own client of `mlflow models serve`, of which only the address is changed."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import requests
from conftest import Sample
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

from tools.model_server import HOST, ModelServer

Samples = Callable[[str], Sample]
Client = Callable[..., ScoringServerClient]


@pytest.fixture
def client(server: ModelServer) -> Client:
    """Return a function that makes MLflow's client for a model. It builds `http://{host}:{port}`, and knows no keys:
    the key stands in the address."""

    def make(model: str, key: str | None = None) -> ScoringServerClient:
        return ScoringServerClient(f"any:{key or server.keys['client']}@{HOST}", f"{server.port}/models/{model}")

    return make


def test_it_finds_the_server_ready(client: Client) -> None:
    client("numeric").wait_server_ready(timeout=5)
    assert client("numeric").get_version() == metadata.version("mlflow-skinny")
    with pytest.raises(Exception, match="error code 404"):
        client("nobody").ping()
    with pytest.raises(Exception, match="error code 401"):
        client("numeric", key="wrong").ping()


@pytest.mark.parametrize("kind", ["numeric", "regression", "strings", "mixed", "typed"])
def test_a_frame(client: Client, sample: Samples, kind: str) -> None:
    expected = sample(kind)
    response = client(kind).invoke(expected.frame)
    assert set(response) == {"predictions"}
    assert response["predictions"] == pytest.approx(expected.predictions)
    assert response.get_predictions("ndarray").shape == (len(expected.frame),)
    assert response.get_predictions().shape == (len(expected.frame), 1)


def test_an_array(client: Client, sample: Samples) -> None:
    expected = sample("tensor")
    response = client("tensor").invoke(expected.frame.to_numpy(), params={"ignored": 1})
    assert response.get_predictions("ndarray").tolist() == expected.predictions


def test_a_frame_with_a_gap(client: Client) -> None:
    frame = pd.DataFrame(np.zeros((2, 12)))
    frame.loc[0, 3] = np.nan
    assert len(client("tensor").invoke(frame)["predictions"]) == 2


@pytest.mark.parametrize("kind", ["numeric", "strings", "mixed", "typed"])
@pytest.mark.parametrize("index", [True, False])
def test_csv_that_pandas_writes(server: ModelServer, sample: Samples, kind: str, index: bool) -> None:
    expected = sample(kind)
    content = expected.frame.to_csv(index=index).encode()
    answer = server.call("POST", f"/models/{kind}/invocations", content, headers={"Content-Type": "text/csv"})
    assert answer.status == 200, answer.body
    assert answer.json()["predictions"] == pytest.approx(expected.predictions)


@pytest.mark.parametrize("orient", ["records", "list"])
def test_other_forms_that_pandas_writes(server: ModelServer, sample: Samples, orient: str) -> None:
    expected = sample("mixed")
    form = {"records": "dataframe_records", "list": "inputs"}[orient]
    content = {form: expected.frame.to_dict(orient)}
    answer = server.call("POST", "/models/mixed/invocations", content)
    assert answer.status == 200, answer.body
    assert answer.json()["predictions"] == expected.predictions


def test_an_error_is_told_in_mlflows_shape(client: Client, server: ModelServer) -> None:
    frame = pd.DataFrame({f"f{i}": [0.0] for i in range(11)} | {"f11": ["x"]})
    with pytest.raises(Exception, match=r"error code 422.*row 0, field 'f11': expected a finite number, got"):
        client("numeric").invoke(frame)
    address = f"http://any:{server.keys['client']}@{HOST}:{server.port}/models/numeric/invocations"
    answer = requests.post(address, json={"x": 1}, timeout=10)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST")
