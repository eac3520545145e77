"""The server from a caller's side: the whole application in this process."""

import math
from pathlib import Path
from typing import Any

import pytest
from serving_fakes import AsgiClient, FakePostgres, FakeRegistry, wait_for

from contract import DIGEST_TAG, ENTITY_KEY_TAG, artifact_digest
from serving.http.app import Server
from serving.models.model import Estimator, PredictionFailed

PREDICT = "/models/m/predict"
RECORD: dict[str, Any] = {"carrier": "UA", "hour": 5, "temp": None, "distance": 700.0}
BODY = {"records": [RECORD, RECORD | {"distance": 10.0}]}


@pytest.fixture
def served(client: AsgiClient, registry: FakeRegistry, model_dir: Path, server: Server) -> AsgiClient:
    """A client of a server that serves `m`."""
    registry.add("m", model_dir, {DIGEST_TAG: artifact_digest(model_dir), ENTITY_KEY_TAG: "flight_id"})
    wait_for(lambda: "m" in server.follower.catalog.served)
    return client


def version(client: AsgiClient) -> int:
    return int(client.post(PREDICT, BODY).json()["version"])


def test_a_prediction_is_answered_and_stored(served: AsgiClient, postgres: FakePostgres) -> None:
    answer = served.post(PREDICT, {"records": [RECORD | {"flight_id": "f-1"}, RECORD | {"distance": 10}]})
    assert answer.status == 200
    content = answer.json()
    assert (content["model"], content["version"], content["alias"]) == ("m", 1, "champion")
    assert [one["prediction"] for one in content["predictions"]] == [True, False]
    assert [one["probability"] > 0.5 for one in content["predictions"]] == [True, False]
    stored = {str(key): row for key, row in postgres.rows.items()}
    assert list(stored) == [one["prediction_id"] for one in content["predictions"]]
    first = stored[content["predictions"][0]["prediction_id"]]
    assert first[5] == "f-1"
    assert "flight_id" not in first[6]
    assert first[8] == content["predictions"][0]["probability"]
    assert first[10] == "client"


def test_a_regressor_is_served_beside_it(served: AsgiClient, registry: FakeRegistry, regressor_dir: Path) -> None:
    registry.add("minutes", regressor_dir)
    wait_for(lambda: served.post("/models/minutes/predict", BODY).status == 200)
    (first, _) = served.post("/models/minutes/predict", BODY).json()["predictions"]
    assert first["prediction"] > 300
    assert first["probability"] is None


def test_a_moved_alias_is_served_without_a_restart(
    served: AsgiClient, registry: FakeRegistry, other_model_dir: Path
) -> None:
    registry.add("m", other_model_dir)
    wait_for(lambda: version(served) == 2)
    registry.by_model["m"]["champion"] = 1
    wait_for(lambda: version(served) == 1)


def test_a_bad_version_is_reported_and_the_good_one_serves_on(
    served: AsgiClient, registry: FakeRegistry, model_dir: Path
) -> None:
    registry.add("m", model_dir, {})
    wait_for(lambda: bool(served.get("/models").json()["not_served"]))
    (report,) = served.get("/models").json()["not_served"]
    assert (report["name"], report["version"]) == ("m", 2)
    assert "no valid tag" in report["reason"]
    assert version(served) == 1


def test_without_postgresql_predictions_are_answered_and_written_later(
    served: AsgiClient, postgres: FakePostgres
) -> None:
    postgres.down = True
    answers = [served.post(PREDICT, BODY) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    postgres.down = False
    wait_for(lambda: len(postgres.rows) == 6)


def test_before_anything_is_known_the_answer_is_503(client: AsgiClient, registry: FakeRegistry, server: Server) -> None:
    wait_for(lambda: server.follower.catalog.complete)
    answer = client.post(PREDICT, BODY)
    assert answer.status == 503
    assert "'m' has no champion yet: train and register" in answer.json()["error"]
    assert "retry-after" not in answer.headers, "a person has to do something first"


def test_readiness_waits_for_the_registry(server: Server, registry: FakeRegistry, request: Any) -> None:
    registry.down = True
    client: AsgiClient = request.getfixturevalue("client")
    assert client.get("/healthz", authorization="").status == 200
    answer = client.get("/readyz", authorization="")
    assert (answer.status, answer.json()["ready"]) == (503, False)
    assert "has not been read yet" in client.post(PREDICT, BODY).json()["error"]
    registry.down = False
    wait_for(lambda: client.get("/readyz", authorization="").status == 200)


@pytest.mark.parametrize(
    "path", ["/models", "/metrics", "/docs", "/openapi.json", "/docs/static/swagger-ui.css", "/nothing", "/healthz/"]
)
@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic d3Jvbmc="])
def test_every_page_but_the_health_checks_wants_a_key(client: AsgiClient, path: str, authorization: str) -> None:
    answer = client.get(path, authorization=authorization)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert "Authorization: Bearer KEY" in answer.json()["error"]


def test_a_prediction_wants_a_key(served: AsgiClient, postgres: FakePostgres) -> None:
    answer = served.post(PREDICT, BODY, authorization="Bearer wrong")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert not postgres.rows


def test_the_caller_is_recorded_by_name(served: AsgiClient, postgres: FakePostgres) -> None:
    served.post(PREDICT, BODY, authorization="Bearer pipelines-key")
    assert {row[10] for row in postgres.rows.values()} == {"pipelines"}


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"{", {}, (400, "the body is not JSON")),
        ({"records": []}, {}, (400, "at least one record")),
        ({"records": [RECORD, RECORD | {"hour": "five"}]}, {}, (422, "row 1, field 'hour': expected an integer")),
        ({"records": [RECORD | {"distance": math.nan}]}, {}, (422, "'distance': expected a finite number, got NaN")),
        (BODY, {"content_type": "text/csv"}, (415, 'expected Content-Type application/json, got "text/csv"')),
        (BODY, {"content_type": ""}, (415, "expected Content-Type application/json, got none")),
        (BODY, {"content_encoding": "gzip"}, (415, "without Content-Encoding")),
        (b" " * 20_001, {}, (413, "larger than 20000 bytes")),
        ([b" " * 9_000] * 3, {}, (413, "larger than 20000 bytes")),
        (b"", {"content_length": "99999999"}, (413, "larger than 20000 bytes")),
    ],
)
def test_a_bad_request_is_told_what_is_wrong_and_stores_nothing(
    served: AsgiClient, postgres: FakePostgres, body: Any, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    status, message = expected
    answer = served.post(PREDICT, body, **headers)
    assert answer.status == status
    assert message in answer.json()["error"]
    assert not postgres.rows
    counted = f'serving_requests_total{{model="m",status="{status}",version="1"}} 1.0'
    assert counted in served.get("/metrics").body.decode()


def test_content_type_may_have_parameters(served: AsgiClient) -> None:
    assert served.post(PREDICT, BODY, content_type="Application/JSON; charset=utf-8").status == 200


def test_unknown_models_and_pages_are_404_and_make_no_series(served: AsgiClient) -> None:
    answer = served.post("/models/nobody/predict", BODY)
    assert (answer.status, answer.json()["error"]) == (404, "no model 'nobody'; served are: m")
    assert served.get("/nobody").json()["error"].startswith("no page /nobody")
    assert served.get(PREDICT).status == 405
    assert "nobody" not in served.get("/metrics").body.decode()


def test_a_model_that_fails_is_a_500_without_its_insides(
    served: AsgiClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise PredictionFailed("ZeroDivisionError: by zero")

    monkeypatch.setattr(Estimator, "predict", fail)
    answer = served.post(PREDICT, BODY)
    assert answer.status == 500
    assert answer.json()["error"] == "version 1 of 'm' failed on these records; the server's log says why"
    assert "ZeroDivisionError: by zero" in caplog.text


def test_metrics_tell_requests_classes_and_gaps(served: AsgiClient) -> None:
    served.post(PREDICT, BODY)
    answer = served.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    for line in (
        'serving_requests_total{model="m",status="200",version="1"} 1.0',
        'serving_request_duration_seconds_count{model="m",status="200",version="1"} 1.0',
        'serving_rows_total{model="m",version="1"} 2.0',
        'serving_predictions_total{class="true",model="m",version="1"} 1.0',
        'serving_predictions_total{class="false",model="m",version="1"} 1.0',
        'serving_input_missing_total{feature="temp",model="m",version="1"} 2.0',
        'serving_model_info{alias="champion",model="m",run_id="run-1",version="1"} 1.0',
        "serving_store_rows_written_total 2.0",
        "serving_registry_up 1.0",
    ):
        assert line in lines


def test_the_list_of_models_holds_a_request_that_works(served: AsgiClient) -> None:
    (model,) = served.get("/models").json()["models"]
    assert (model["version"], model["run_id"], model["entity_key"]) == (1, "run-1", "flight_id")
    assert model["inputs"][2] == {"name": "temp", "type": "double", "required": False}
    assert served.post(PREDICT, model["example"]).status == 200


def test_the_docs_describe_the_server_and_load_nothing_from_elsewhere(served: AsgiClient) -> None:
    page = served.get("/docs").body.decode()
    assert "http://" not in page and "https://" not in page
    assert served.get("/docs/static/swagger-ui-bundle.js").status == 200
    schema = served.get("/openapi.json").json()
    assert schema["security"] == [{"key": []}]
    predict = schema["paths"]["/models/{name}/predict"]["post"]
    assert set(predict["responses"]) == {"200", "400", "401", "404", "413", "415", "422", "500", "503"}
    example = predict["requestBody"]["content"]["application/json"]["examples"]["m"]["value"]
    assert served.post(PREDICT, example).status == 200
