"""Who a key belongs to."""

import base64

import pytest

from serving.http.auth import Keys

KEYS = Keys({"client": "key-1", "pipelines": "key-2"})


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "caller"),
    [
        ("Bearer key-1", "client"),
        ("bearer key-2", "pipelines"),
        (basic("anyone:key-1"), "client"),
        ("Bearer key-3", None),
        ("Bearer key-", None),
        ("Bearer ", None),
        ("key-1", None),
        ("Basic key-1", None),
        (basic("key-1"), None),
        ("Bearer \udcff", None),
        ("", None),
        (None, None),
    ],
)
def test_only_a_whole_key_in_the_right_place_names_a_caller(header: str | None, caller: str | None) -> None:
    assert KEYS.caller(header) == caller
