"""Outcomes are taken by prediction id or entity key, and what is wrong with one is said."""

import math
from typing import Any

import pytest

from serving.errors import RequestError
from serving.ids import PredictionIds
from serving.protocols.feedback import MAX_ITEMS, parse_feedback
from serving.run import Server
from tests.serving.fakes import AsgiClient, FakeRegistry, wait_for

ID = PredictionIds.drawn(1).base


def item(**changes: Any) -> dict[str, Any]:
    return {"feedback": [{"prediction_id": ID, "outcome": 1} | changes]}


def test_an_outcome_by_prediction_or_by_entity() -> None:
    first, second = parse_feedback(
        {
            "feedback": [
                {"prediction_id": ID.upper(), "outcome": True, "observed_at": "2013-07-01T05:15:00Z"},
                {"entity_key": 17, "outcome": "late"},
            ]
        }
    )
    assert (first.prediction_id, first.entity_key, first.outcome, first.observed_at) == (ID, None, True, 1372655700.0)
    assert (second.prediction_id, second.entity_key, second.outcome, second.observed_at) == (None, "17", "late", None)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ([], 400, "expected a body like"),
        ({"feedback": {}}, 400, "expected a body like"),
        ({"feedback": [], "more": 1}, 400, "expected a body like"),
        ({"feedback": []}, 400, "expected 1 to"),
        ({"feedback": [{}] * (MAX_ITEMS + 1)}, 400, f"expected 1 to {MAX_ITEMS} items"),
        ({"feedback": [7]}, 422, "item 0: expected an object"),
        (item(colour="red"), 422, "item 0: expected an object of"),
        (item(entity_key="k"), 422, "either prediction_id or entity_key"),
        ({"feedback": [{"outcome": 1}]}, 422, "either prediction_id or entity_key"),
        (item(prediction_id="7"), 422, "expected an id that a prediction was answered with"),
        (item(prediction_id=7), 422, "item 0, prediction_id"),
        (item(outcome=None), 422, "item 0, outcome"),
        (item(outcome=[1]), 422, "item 0, outcome"),
        (item(outcome=math.nan), 422, "item 0, outcome"),
        (item(outcome="a\x00"), 422, "item 0, outcome"),
        (item(observed_at="yesterday"), 422, "item 0, observed_at"),
        (item(observed_at=7), 422, "item 0, observed_at"),
        ({"feedback": [{"entity_key": "", "outcome": 1}]}, 422, "item 0, entity_key"),
        ({"feedback": [{"entity_key": "x" * 501, "outcome": 1}]}, 422, "item 0, entity_key"),
        ({"feedback": [{"entity_key": True, "outcome": 1}]}, 422, "item 0, entity_key"),
    ],
)
def test_what_is_wrong_is_said(body: Any, status: int, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_feedback(body)
    assert caught.value.status == status
    assert message in caught.value.message


def test_feedback_is_written_down_and_unknown_models_are_refused(
    client: AsgiClient, registry: FakeRegistry, server: Server, journal: Any, model_dir: Any
) -> None:
    registry.add("m", model_dir, champion=False)
    wait_for(lambda: "m" in server.follower.catalog.wanted)
    answer = client.post("/models/m/feedback", item())
    assert (answer.status, answer.json()) == (202, {"model": "m", "accepted": 1})
    assert ID in str(journal())
    assert client.post("/models/nobody/feedback", item()).status == 404
    assert client.post("/models/m/feedback", item(), authorization="Bearer admin-key").status == 403
