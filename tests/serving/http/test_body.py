"""Bodies that are not requests get a 400 that shows the shape of one."""

import pytest

from serving.errors import RequestError
from serving.http.body import parse_json
from serving.protocols.records import parse_records


def test_the_records_are_returned_as_they_are() -> None:
    assert parse_records(parse_json(b'{"records": [{"a": 1}, 2]}')) == [{"a": 1}, 2]


def test_nan_is_parsed_so_that_its_field_can_be_named() -> None:
    (record,) = parse_records(parse_json(b'{"records": [{"a": NaN}]}'))
    assert record["a"] != record["a"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"{records", "the body is not JSON"),
        (b'{"records": [NaN}', "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"records": ' + b"[" * 100_000 + b"NaN", "the body is not JSON"),
        (b'"\xff"', "the body is not JSON"),
        (b"[1]", "got a list"),
        (b"null", "got null"),
        (b"{}", "got an empty object"),
        (b'{"instances": []}', 'got an object with "instances"'),
        (b'{"records": []}', "got an empty list"),
        (b'{"records": {}}', "got an object"),
        (b'{"records": "all"}', 'got "all"'),
        (b'{"records": [{}], "alias": "canary"}', 'unknown key "alias"'),
    ],
)
def test_what_is_wrong_is_said(body: bytes, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_records(parse_json(body))
    assert caught.value.status == 400
    assert message in caught.value.message
