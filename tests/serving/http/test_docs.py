"""The OpenAPI document and its page, as a caller gets them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract import DIGEST_TAG, ENTITY_KEY_TAG, artifact_digest
from serving.http.app import ROUTES
from serving.run import Server
from tests.serving.fakes import AsgiClient, FakeRegistry, wait_for

RECORD = {"carrier": "UA", "hour": 5, "temp": None, "distance": 700.0, "flight_id": "f-1"}


@pytest.fixture
def document(served: AsgiClient) -> dict[str, Any]:
    answer = served.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    content: dict[str, Any] = answer.json()
    return content


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, by_method in document["paths"].items():
        for method, operation in by_method.items():
            yield path, method, operation


def resolved(document: dict[str, Any], node: Any) -> Any:
    """A part of the document with what it refers to in its place."""
    if isinstance(node, list):
        return [resolved(document, item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        found: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return resolved(document, found)
    return {key: resolved(document, value) for key, value in node.items()}


def examples(operation: dict[str, Any], media_type: str = "application/json") -> list[Any]:
    content = operation["requestBody"]["content"][media_type]
    return [example["value"] for example in content["examples"].values()]


def test_every_route_of_the_data_plane_is_told(document: dict[str, Any]) -> None:
    told = {
        (method.upper(), re.sub("^((/v2)?/models)/m(/|$)", r"\1/{model}\3", p)) for p, method, _ in operations(document)
    }
    assert {(route.method, route.pattern) for route in ROUTES} - {("GET", "/v2/")} <= told


def test_a_record_is_told_by_its_fields(document: dict[str, Any]) -> None:
    body = document["paths"]["/models/m/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    record = resolved(document, body)["properties"]["records"]["items"]
    assert record["required"] == ["carrier", "hour", "distance"]
    assert record["additionalProperties"] is False
    fields = {name: schema.get("type") for name, schema in record["properties"].items()}
    assert fields | {"flight_id": 0} == {
        "carrier": "string",
        "hour": "integer",
        "temp": ["number", "null"],
        "distance": "number",
        "flight_id": 0,
    }
    assert record["properties"]["hour"]["maximum"] == 2**63 - 1


def test_what_a_prediction_can_be_is_told(document: dict[str, Any]) -> None:
    answer = document["paths"]["/models/m/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    schema = resolved(document, answer["schema"])["properties"]
    assert (schema["model"], schema["role"]) == ({"const": "m"}, {"enum": ["champion"]})
    assert schema["predictions"]["items"]["properties"]["prediction"] == {"enum": [False, True]}
    (example,) = (one["value"] for one in answer["examples"].values())
    assert (example["model"], example["version"]) == ("m", 1)
    assert example["predictions"][0]["prediction"] in (False, True)


@pytest.mark.parametrize(
    "path", ["/models/m/predict", "/models/m/invocations", "/models/m/feedback", "/v2/models/m/infer"]
)
def test_the_examples_work(served: AsgiClient, document: dict[str, Any], path: str) -> None:
    bodies = examples(document["paths"][path]["post"])
    assert bodies
    for body in bodies:
        assert served.post(path, body).status in (200, 202)


def test_the_versions_that_can_be_asked_for_are_told(
    served: AsgiClient, registry: FakeRegistry, other_model_dir: Path, server: Server
) -> None:
    tags = {DIGEST_TAG: artifact_digest(other_model_dir), ENTITY_KEY_TAG: "flight_id"}
    registry.by_model["m"]["canary"] = registry.add("m", other_model_dir, tags, champion=False)
    wait_for(lambda: server.plane.catalog.deployments["m"].canary is not None)
    parameters = served.get("/openapi.json").json()["paths"]["/models/m/predict"]["post"]["parameters"]
    told = {parameter["name"]: parameter["schema"]["enum"] for parameter in parameters}
    assert told == {"version": ["1", "2"], "alias": ["champion", "canary"]}


def test_the_document_follows_the_catalog_and_is_made_once_for_each(
    served: AsgiClient, registry: FakeRegistry, regressor_dir: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    first = served.get("/openapi.json").body
    assert b"/models/a%20b%7Bc/predict" not in first
    registry.add("a b{c", regressor_dir)
    wait_for(lambda: "a b{c" in server.plane.catalog.deployments)
    second = served.get("/openapi.json").json()
    answer = second["paths"]["/models/a%20b%7Bc/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    predicted = resolved(second, answer["schema"])["properties"]["predictions"]["items"]["properties"]
    assert (predicted["prediction"], predicted["probability"]["type"]) == ({"type": "number"}, "null")
    monkeypatch.setattr("serving.http.docs.describe", lambda *_: pytest.fail("it is made anew"))
    assert served.get("/openapi.json").json() == second


def test_before_anything_is_served_the_document_is_there(client: AsgiClient) -> None:
    document = client.get("/openapi.json").json()
    assert "/v2/models/{model}" in document["paths"]
    assert "/models" in document["paths"]


def test_every_call_tells_its_errors_and_the_request_id(document: dict[str, Any]) -> None:
    identities = []
    for path, _, operation in operations(document):
        identities.append(operation["operationId"])
        told = set(operation["responses"])
        public = operation.get("security") == []
        assert public is (path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/webhooks/mlflow"))
        assert public or told >= {"401", "403", "429"}, path
        for status, response in resolved(document, operation["responses"]).items():
            assert "X-Request-Id" in response["headers"], path
            if int(status) >= 400 and path not in ("/readyz", "/v2/health/ready"):
                schema = json.dumps(response["content"]["application/json"]["schema"])
                assert '"error"' in schema or '"error_code"' in schema
    assert len(set(identities)) == len(identities)
    predict = set(document["paths"]["/models/m/predict"]["post"]["responses"])
    assert predict == {"200", "400", "401", "403", "404", "413", "415", "422", "429", "500", "503"}
    assert {"401", "403", "404", "409"} <= set(document["paths"]["/keys/{name}"]["delete"]["responses"])
    assert "HTTPValidationError" not in json.dumps(document)


def test_a_key_can_be_given_in_both_ways(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {name: scheme["scheme"] for name, scheme in schemes.items()} == {"key": "bearer", "password": "basic"}
    assert document["security"] == [{"key": []}, {"password": []}]


def test_the_page_loads_nothing_from_elsewhere(served: AsgiClient) -> None:
    page = served.get("/docs").body.decode()
    assert "http://" not in page
    assert "https://" not in page
    for name in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert served.get(name).status == 200
