"""Only what MLflow signed, a moment ago, wakes the server."""

import base64
import hashlib
import hmac
import json

import pytest
from starlette.datastructures import Headers

from contract import CANARY_SHARE_TAG, SERVING_STATUS_TAG
from serving.errors import RequestError
from serving.models.webhook import is_news, verify

NOW = 1_750_000_000.0
SECRET = "9f2c"
BODY = b'{"entity": "model_version_alias", "action": "created", "data": {"name": "m", "alias": "champion"}}'


def signed(body: bytes = BODY, secret: str = SECRET, at: float = NOW) -> dict[str, str]:
    """Headers as `mlflow.webhooks.delivery` makes them."""
    delivery, timestamp = "1b4e28ba-2fa1-11d2-883f-0016d3cca427", str(int(at))
    digest = hmac.new(secret.encode(), f"{delivery}.{timestamp}.{body.decode()}".encode(), hashlib.sha256).digest()
    return {
        "x-mlflow-delivery-id": delivery,
        "x-mlflow-timestamp": timestamp,
        "x-mlflow-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def refusal(headers: dict[str, str], body: bytes = BODY, now: float = NOW) -> str:
    with pytest.raises(RequestError) as caught:
        verify(headers, body, SECRET, now)
    assert caught.value.status == 401
    return caught.value.message


@pytest.mark.parametrize("late", [0, 299, -299])
def test_a_signed_delivery_passes(late: float) -> None:
    verify(signed(), BODY, SECRET, NOW + late)
    verify(Headers({name.title(): value for name, value in signed().items()}), BODY, SECRET, NOW)


@pytest.mark.parametrize("late", [301, -301])
def test_an_old_delivery_is_refused(late: float) -> None:
    assert "too long ago" in refusal(signed(), now=NOW + late)


@pytest.mark.parametrize(
    "change",
    [
        {"x-mlflow-signature": ""},
        {"x-mlflow-signature": "v1,"},
        {"x-mlflow-signature": signed()["x-mlflow-signature"].replace("v1,", "v2,")},
        {"x-mlflow-signature": signed(secret="other")["x-mlflow-signature"]},
        {"x-mlflow-signature": "v1,\xff"},
        {"x-mlflow-timestamp": str(int(NOW) + 1)},
        {"x-mlflow-timestamp": "now"},
        {"x-mlflow-delivery-id": "another"},
    ],
)
def test_what_was_not_signed_is_refused(change: dict[str, str]) -> None:
    assert "missing or wrong" in refusal(signed() | change)


def test_another_body_or_no_header_at_all_is_refused() -> None:
    assert "missing or wrong" in refusal(signed(), BODY + b" ")
    assert "missing or wrong" in refusal({})


def test_a_timestamp_that_is_none_is_refused_even_when_signed() -> None:
    digest = hmac.new(SECRET.encode(), b"1.soon." + BODY, hashlib.sha256).digest()
    headers = {
        "x-mlflow-delivery-id": "1",
        "x-mlflow-timestamp": "soon",
        "x-mlflow-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    assert "missing or wrong" in refusal(headers)


@pytest.mark.parametrize(
    ("data", "news"),
    [
        ({"name": "m", "version": "3", "key": SERVING_STATUS_TAG, "value": "refused as champion: no"}, False),
        ({"name": "m", "version": "3", "key": SERVING_STATUS_TAG}, False),
        ({"name": "m", "version": "3", "key": CANARY_SHARE_TAG, "value": "50"}, True),
        ({"name": "m", "alias": "champion", "version": "3"}, True),
        ("something else", True),
    ],
)
def test_the_servers_own_tag_is_no_news(data: object, news: bool) -> None:
    assert is_news(json.dumps({"entity": "model_version_tag", "action": "set", "data": data}).encode()) is news


def test_what_cannot_be_read_is_news() -> None:
    assert is_news(b"{")
    assert is_news(b"[]")
