from __future__ import annotations

import json

import httpx
import pytest

from pipelines.errors import StepError
from pipelines.monitoring.replay import _send, part_of


def client(answer: httpx.Response | Exception, seen: list[httpx.Request]) -> httpx.Client:
    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx.Client(transport=httpx.MockTransport(handle), base_url="http://serving")


def test_records_are_sent_as_they_are() -> None:
    seen: list[httpx.Request] = []
    answer = httpx.Response(200, json={"version": 1, "predictions": [{}]})
    assert _send(client(answer, seen), "shop", [{"order_id": "o1", "country": None}])["version"] == 1
    assert seen[0].url.path == "/models/shop/predict"
    assert json.loads(seen[0].content) == {"records": [{"order_id": "o1", "country": None}]}


def test_a_version_that_is_being_loaded_is_waited_for() -> None:
    answers = [
        httpx.Response(503, text="being loaded", headers={"Retry-After": "0"}),
        httpx.Response(200, json={"version": 2, "predictions": [{}]}),
    ]
    transport = httpx.MockTransport(lambda request: answers.pop(0))
    assert _send(httpx.Client(transport=transport, base_url="http://serving"), "shop", [{}])["version"] == 2
    assert answers == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.Response(503, text="no champion yet"), "answered 503: no champion yet"),
        (httpx.ConnectError("refused"), "does not answer: refused"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(answer: httpx.Response | Exception, told: str) -> None:
    with pytest.raises(StepError, match=told):
        _send(client(answer, []), "shop", [{}])


def test_the_parts_of_a_month_are_all_of_it_in_its_order() -> None:
    records = [{"order_id": str(number)} for number in range(23)]
    parts = [part_of(records, (number, number, 7)) for number in range(1, 8)]
    assert [record for part in parts for record in part] == records
    assert {len(part) for part in parts} == {3, 4}
    assert part_of(records, (1, 1, 7)) + part_of(records, (2, 7, 7)) == records
