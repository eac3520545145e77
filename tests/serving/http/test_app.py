"""The server from a caller's side: the whole application in this process."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract import CANARY_SHARE_TAG, DIGEST_TAG, ENTITY_KEY_TAG, artifact_digest
from serving.errors import RequestError
from serving.models.model import PredictionFailed
from serving.run import Server
from tests.serving.fakes import AsgiClient, FakeRegistry, wait_for

Journal = Callable[[], list[dict[str, Any]]]

PREDICT = "/models/m/predict"
RECORD: dict[str, Any] = {"carrier": "UA", "hour": 5, "temp": None, "distance": 700.0}
BODY = {"records": [RECORD, RECORD | {"distance": 10.0}]}


def version(client: AsgiClient) -> int:
    return int(client.post(PREDICT, BODY).json()["version"])


def test_a_prediction_is_answered_and_written_down(served: AsgiClient, journal: Journal) -> None:
    answer = served.post(PREDICT, {"records": [RECORD | {"flight_id": "f-1"}, RECORD | {"distance": 10}]})
    assert answer.status == 200
    content = answer.json()
    assert (content["model"], content["version"], content["role"]) == ("m", 1, "champion")
    assert [one["prediction"] for one in content["predictions"]] == [True, False]
    assert [one["probability"] > 0.5 for one in content["predictions"]] == [True, False]
    (entry,) = journal()
    text = json.dumps(entry)
    assert content["predictions"][0]["prediction_id"] in text
    assert answer.headers["x-request-id"] in text
    for part in ("f-1", "client", "champion", '"distance": [700.0, 10.0]'):
        assert part in text


def test_a_regressor_is_served_beside_it(served: AsgiClient, registry: FakeRegistry, regressor_dir: Path) -> None:
    registry.add("minutes", regressor_dir)
    wait_for(lambda: served.post("/models/minutes/predict", BODY).status == 200)
    (first, _) = served.post("/models/minutes/predict", BODY).json()["predictions"]
    assert first["prediction"] > 300
    assert first["probability"] is None


def test_a_moved_alias_is_served_without_a_restart(
    served: AsgiClient, registry: FakeRegistry, other_model_dir: Path
) -> None:
    registry.add("m", other_model_dir, {DIGEST_TAG: artifact_digest(other_model_dir), ENTITY_KEY_TAG: "flight_id"})
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


def test_what_cannot_be_written_down_is_not_answered(
    served: AsgiClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RequestError(503, "the journal is full")

    monkeypatch.setattr(server.plane.journal, "predictions", full)
    assert served.post(PREDICT, BODY).status == 503


def test_a_version_or_an_alias_can_be_named(served: AsgiClient, registry: FakeRegistry, other_model_dir: Path) -> None:
    tags = {DIGEST_TAG: artifact_digest(other_model_dir), ENTITY_KEY_TAG: "flight_id"}
    registry.by_model["m"]["canary"] = registry.add("m", other_model_dir, tags, champion=False)
    wait_for(lambda: served.post(f"{PREDICT}?alias=canary", BODY).status == 200)
    assert served.post(f"{PREDICT}?alias=canary", BODY).json()["version"] == 2
    assert served.post(f"{PREDICT}?version=2", BODY).json()["role"] == "canary"
    assert served.post(f"{PREDICT}?version=1", BODY).json()["role"] == "champion"
    refused = served.post(f"{PREDICT}?version=9", BODY)
    assert refused.status == 404
    assert "2" in refused.json()["error"], "the answer lists what is served"


@pytest.fixture
def with_canary(served: AsgiClient, registry: FakeRegistry, other_model_dir: Path) -> AsgiClient:
    """A client of a server whose `m` has a canary with half of the traffic."""
    tags = {DIGEST_TAG: artifact_digest(other_model_dir), CANARY_SHARE_TAG: "50", ENTITY_KEY_TAG: "flight_id"}
    registry.by_model["m"]["canary"] = registry.add("m", other_model_dir, tags, champion=False)
    wait_for(lambda: served.post(f"{PREDICT}?alias=canary", BODY).status == 200)
    return served


def test_a_canary_gets_its_share_and_each_caller_sees_one_version(with_canary: AsgiClient) -> None:
    def answered_by(key: str) -> int:
        return int(with_canary.post(PREDICT, BODY, x_routing_key=key).json()["version"])

    first = {f"user-{n}": answered_by(f"user-{n}") for n in range(100)}
    assert 25 < list(first.values()).count(2) < 75
    assert {key: answered_by(key) for key in first} == first


def test_without_a_header_the_entity_key_decides(with_canary: AsgiClient) -> None:
    def answered_by(key: str) -> int:
        return int(with_canary.post(PREDICT, {"records": [RECORD | {"flight_id": key}]}).json()["version"])

    first = {f"f-{n}": answered_by(f"f-{n}") for n in range(40)}
    assert set(first.values()) == {1, 2}
    assert {key: answered_by(key) for key in first} == first


def test_what_a_canary_fails_on_the_champion_answers(
    with_canary: AsgiClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = server.follower.catalog.deployments["m"].canary
    assert canary is not None
    monkeypatch.setattr(canary.engine, "predict", failing)
    answers = [with_canary.post(PREDICT, BODY, x_routing_key=f"user-{n}") for n in range(20)]
    assert {(answer.status, answer.json()["version"]) for answer in answers} == {(200, 1)}
    assert with_canary.post(f"{PREDICT}?alias=canary", BODY).status == 500, "who asks for it sees what it does"
    failures = 'model_infer_request_failure_total{model="m",role="canary",status_code="500",version="2"}'
    assert failures in with_canary.get("/metrics", authorization="Bearer admin-key").body.decode()


def failing(*_: Any) -> None:
    raise PredictionFailed("ZeroDivisionError: by zero")


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


def test_a_prediction_wants_a_key_that_allows_it(served: AsgiClient, journal: Journal) -> None:
    answer = served.post(PREDICT, BODY, authorization="Bearer wrong")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert served.post(PREDICT, BODY, authorization="Bearer admin-key").status == 403
    assert served.get("/metrics").status == 403
    assert served.get("/keys").status == 403
    assert not journal()


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
    served: AsgiClient, journal: Journal, body: Any, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    status, message = expected
    answer = served.post(PREDICT, body, **headers)
    assert answer.status == status
    assert message in answer.json()["error"]
    assert not journal()
    counted = f'rest_server_requests_total{{method="POST",path="/models/{{model}}/predict",status_code="{status}"}} 1.0'
    assert counted in served.get("/metrics", authorization="Bearer admin-key").body.decode()


def test_content_type_may_have_parameters(served: AsgiClient) -> None:
    assert served.post(PREDICT, BODY, content_type="Application/JSON; charset=utf-8").status == 200


def test_unknown_models_and_pages_are_404_and_make_no_series(served: AsgiClient) -> None:
    answer = served.post("/models/nobody/predict", BODY)
    assert (answer.status, answer.json()["error"]) == (404, "no model 'nobody'; served are: m")
    assert served.get("/nobody").json()["error"].startswith("no page /nobody")
    assert served.get(PREDICT).status == 405
    assert "nobody" not in served.get("/metrics", authorization="Bearer admin-key").body.decode()


def test_a_model_that_fails_is_a_500_without_its_insides(
    served: AsgiClient, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    champion = server.follower.catalog.deployments["m"].champion
    assert champion is not None
    monkeypatch.setattr(champion.engine, "predict", failing)
    answer = served.post(PREDICT, BODY)
    assert answer.status == 500
    assert answer.json()["error"] == "version 1 of 'm' failed on these records; the server's log says why"
    assert "ZeroDivisionError: by zero" in caplog.text


def test_metrics_tell_requests_classes_and_gaps(served: AsgiClient) -> None:
    served.post(PREDICT, BODY)
    answer = served.get("/metrics", authorization="Bearer admin-key")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.body.decode().splitlines()
    version = 'model="m",role="champion",version="1"'
    for line in (
        f"model_infer_request_success_total{{{version}}} 1.0",
        f"model_infer_request_duration_count{{{version}}} 1.0",
        f"batch_request_queue_count{{{version}}} 1.0",
        f"serving_rows_total{{{version}}} 2.0",
        f'serving_predictions_total{{class="true",{version}}} 1.0',
        f'serving_predictions_total{{class="false",{version}}} 1.0',
        f'serving_input_missing_total{{feature="temp",{version}}} 2.0',
        "serving_registry_up 1.0",
    ):
        assert line in lines
    assert any(line.startswith("serving_model_info{") and 'role="champion",run_id="run-1"' in line for line in lines)


def test_the_list_of_models_holds_a_request_that_works(served: AsgiClient) -> None:
    (deployment,) = served.get("/models").json()["models"]
    (model,) = deployment["versions"]
    assert (deployment["name"], model["version"], model["role"]) == ("m", 1, "champion")
    assert (model["run_id"], model["entity_key"]) == ("run-1", "flight_id")
    assert model["inputs"][2] == {"name": "temp", "type": "double", "required": False}
    assert served.post(PREDICT, model["example"]).status == 200
