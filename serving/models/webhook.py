"""What MLflow's registry sends when something changes: proof that it comes from there, and whether it is news.

The protocol is MLflow's `mlflow.webhooks.delivery`, after https://www.standardwebhooks.com: the signature is
`v1,` + base64(HMAC-SHA256(secret, delivery id + "." + timestamp + "." + body)).
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

from contract import SERVING_STATUS_TAG
from serving.errors import RequestError

MAX_AGE_SECONDS = 300
_VERSION = "v1"


def verify(headers: Mapping[str, str], body: bytes, secret: str, now: float | None = None) -> None:
    """Pass if the delivery was signed with `secret` at most `MAX_AGE_SECONDS` ago.

    Args:
        headers: by lower-case name, or without regard to case.
        body: as it came.
        secret: shared with MLflow.
        now: seconds since the epoch; default: the clock's.

    Raises:
        RequestError: 401; the message tells no more than what MLflow's operator needs.
    """
    delivery = headers.get("x-mlflow-delivery-id", "")
    timestamp = headers.get("x-mlflow-timestamp", "")
    given = headers.get("x-mlflow-signature", "")
    signed = f"{delivery}.{timestamp}.".encode() + body
    expected = base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest())
    if not timestamp.isdecimal() or not hmac.compare_digest(f"{_VERSION},".encode() + expected, given.encode()):
        raise RequestError(401, "the signature of this webhook is missing or wrong")
    age = (time.time() if now is None else now) - int(timestamp)
    if abs(age) > MAX_AGE_SECONDS:
        raise RequestError(401, "this webhook was signed too long ago, or by a clock that is wrong")


def is_news(body: bytes) -> bool:
    """Whether a verified delivery tells more than that this server itself wrote its tag on a version."""
    try:
        data = json.loads(body)["data"]
        return bool(data.get("key") != SERVING_STATUS_TAG)
    except (ValueError, TypeError, KeyError, AttributeError):
        return True
