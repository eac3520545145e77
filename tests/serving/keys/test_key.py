"""What a key that is to be made may look like."""

import pytest
from pydantic import ValidationError

from serving.keys.key import NewKey


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"name": "App"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "-app"}, "name"),
        ({"name": "app\n"}, "name"),
        ({"name": "a" * 41}, "name"),
        ({"name": 7}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"scopes": "predict"}, "scopes"),
        ({"rate": 0}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"rate": float("inf")}, "rate"),
        ({"rate": True}, "rate"),
        ({"rate": "5"}, "rate"),
        ({"digest": "x"}, "digest"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_field(fields: dict[str, object], place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        NewKey.model_validate({"name": "app", "scopes": ["predict"]} | fields)
    assert {error["loc"][0] for error in caught.value.errors()} == {place}
