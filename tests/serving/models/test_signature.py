"""What the signature lets through, and what a caller is told about the rest."""

import itertools
import json
import math
from datetime import datetime
from typing import Any

import pytest

from serving.errors import RequestError, VersionRefused
from serving.models.findings import MAX_DETAILS
from serving.models.signature import Field, Rows, Signature, parse_signature
from serving.models.types import TYPES, quick_column

SIGNATURE = Signature(
    [
        Field("carrier", "string", True),
        Field("hour", "integer", True),
        Field("distance", "long", True),
        Field("temp", "double", False),
        Field("wind", "float", False),
        Field("holiday", "boolean", False),
        Field("departure", "datetime", False),
    ]
)
GOOD: dict[str, Any] = {"carrier": "UA", "hour": 5, "distance": 1400, "temp": 39.02}


def refusal(*records: Any, entity_key: str | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        SIGNATURE.check(list(records), entity_key)
    assert caught.value.status == 422
    return caught.value


def test_good_records_become_columns_in_the_order_of_the_signature() -> None:
    full = GOOD | {"wind": 1, "holiday": True, "departure": "2013-07-01T05:15:00"}
    rows = SIGNATURE.check([dict(reversed(full.items())), GOOD], None)
    assert rows.count == 2
    assert list(rows.columns) == [field.name for field in SIGNATURE.fields]
    assert rows.columns["carrier"] == ["UA", "UA"]
    assert rows.columns["wind"] == [1.0, None]
    assert rows.columns["holiday"] == [True, None]
    assert rows.columns["departure"] == [datetime(2013, 7, 1, 5, 15), None]


@pytest.mark.parametrize("value", [None, "absent"])
def test_null_and_absence_are_the_same_for_an_optional_field_and_wrong_for_a_required_one(value: Any) -> None:
    def without(name: str) -> dict[str, Any]:
        return {k: v for k, v in GOOD.items() if k != name} if value == "absent" else GOOD | {name: None}

    assert SIGNATURE.check([without("temp")], None).columns["temp"] == [None]
    error = refusal(GOOD, without("hour"))
    assert error.message.startswith("row 1, field 'hour': expected an integer from -2147483648 to 2147483647, got ")
    assert error.message.endswith("the field is missing" if value == "absent" else "got null")


@pytest.mark.parametrize(
    ("field", "value", "expected", "got"),
    [
        ("carrier", 7, "a string", "7"),
        ("carrier", "a\0b", "a string", '"a\\u0000b"'),
        ("carrier", "\ud800", "a string", '"\\ud800"'),
        ("hour", "5", "an integer", '"5"'),
        ("hour", True, "an integer", "true"),
        ("hour", 5.5, "an integer", "5.5"),
        ("hour", 2**31, "an integer", "2147483648"),
        ("distance", 2**63, "an integer", "9223372036854775808"),
        ("temp", "warm", "a finite number, or null", '"warm"'),
        ("temp", False, "a finite number", "false"),
        ("temp", math.nan, "a finite number", "NaN"),
        ("temp", -math.inf, "a finite number", "-Infinity"),
        ("temp", 10**400, "a finite number", "1000"),
        ("wind", 1e39, "float32", "1e+39"),
        ("temp", {"celsius": 3}, "a finite number", "an object"),
        ("temp", [3], "a finite number", "a list"),
        ("holiday", 1, "true or false", "1"),
        ("departure", "yesterday", "ISO 8601", '"yesterday"'),
        ("departure", "9999-12-31T23:59:59-05:00", "ISO 8601", '"9999'),
        ("departure", 1372655700, "ISO 8601", "1372655700"),
    ],
)
def test_a_wrong_value_is_named_with_row_field_and_what_was_expected(
    field: str, value: Any, expected: str, got: str
) -> None:
    error = refusal(GOOD, GOOD, GOOD | {field: value})
    assert error.details is not None
    (detail,) = error.details
    assert (detail["row"], detail["field"]) == (2, field)
    assert expected in detail["expected"]
    assert detail["got"].startswith(got)
    assert error.message.startswith(f"row 2, field {field!r}: expected ")
    json.dumps(error.body()).encode()


def test_an_integer_that_comes_as_a_whole_float_is_an_integer() -> None:
    (hour,) = SIGNATURE.check([GOOD | {"hour": 5.0}], None).columns["hour"]
    assert (hour, type(hour)) == (5, int)


def test_a_moment_with_an_offset_is_converted_to_utc() -> None:
    rows = SIGNATURE.check([GOOD | {"departure": "2013-07-01T05:15:00-04:00"}], None)
    assert rows.columns["departure"] == [datetime(2013, 7, 1, 9, 15)]


def test_unknown_fields_are_refused_and_the_known_ones_listed() -> None:
    error = refusal(GOOD | {"dep_delay": 12, "\ud800": 1})
    assert error.message.startswith("row 0, field 'dep_delay': expected only known fields (carrier, hour, distance, ")
    assert error.details is not None and error.details[1]["field"] == "\\ud800"


def test_a_record_that_is_no_object_is_named() -> None:
    assert refusal(GOOD, 7).message == "row 1: expected an object of field: value, got 7"


def test_all_findings_are_listed_up_to_a_limit() -> None:
    error = refusal(*[{} for _ in range(100)])
    assert error.details is not None
    assert len(error.details) == MAX_DETAILS
    assert error.message.endswith(f"({MAX_DETAILS - 1} more in details)")


def test_the_entity_key_may_stand_beside_the_features_and_may_be_one() -> None:
    rows = SIGNATURE.check([GOOD | {"flight_id": "f-1"}, GOOD, GOOD | {"flight_id": 12}], "flight_id")
    assert rows.entity_keys == ["f-1", None, "12"]
    assert "flight_id" not in rows.columns
    assert SIGNATURE.check([GOOD], "carrier").entity_keys == ["UA"]
    assert refusal(GOOD | {"flight_id": "f-1"}).message.startswith("row 0, field 'flight_id'")


@pytest.mark.parametrize("key", ["x" * 501, 1.5, [], True])
def test_an_entity_key_that_cannot_be_stored_is_refused(key: Any) -> None:
    assert "field 'flight_id': expected a string of at most 500 characters" in (
        refusal(GOOD | {"flight_id": key}, entity_key="flight_id").message
    )


def test_the_signature_is_read_as_mlflow_stores_it() -> None:
    inputs = (
        '[{"type": "long", "name": "hour", "required": true}, {"type": "double", "name": "temp", "required": false}]'
    )
    parsed = parse_signature({"signature": {"inputs": inputs}})
    assert parsed.fields == (Field("hour", "long", True), Field("temp", "double", False))


@pytest.mark.parametrize(
    ("mlmodel", "reason"),
    [
        ({}, "it has no input signature"),
        ({"signature": None}, "it has no input signature"),
        (
            {"signature": {"inputs": '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3, 3]}}]'}},
            "a tensor of float64 and shape",
        ),
        ({"signature": {"inputs": '[{"type": "binary", "name": "photo"}]'}}, 'column "photo" has type "binary"'),
    ],
)
def test_a_signature_that_cannot_be_checked_is_refused(mlmodel: dict[str, Any], reason: str) -> None:
    with pytest.raises(VersionRefused, match=reason):
        parse_signature(mlmodel)


TENSOR = {"signature": {"inputs": '[{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}]'}}


def test_a_tensor_has_a_field_a_column_and_takes_lists() -> None:
    parsed = parse_signature(TENSOR)
    assert parsed.tensor == "float64"
    assert [field.name for field in parsed.fields] == ["0", "1", "2"]
    rows = parsed.check([[1, 2.5, None], {"0": 4.0, "1": 5.0, "2": 6.0}], None)
    assert rows.columns == {"0": [1.0, 4.0], "1": [2.5, 5.0], "2": [None, 6.0]}
    with pytest.raises(RequestError, match="row 1: expected an object"):
        parsed.check([[1, 2, 3], [1, 2]], None)


COLUMNS: dict[str, list[Any]] = {"name": ["a", "b"], "size": [1.5, math.nan], "key": ["k-1", 7]}
FRAME = Signature([Field("name", "string", True), Field("size", "double", False)])


def test_columns_are_checked_as_records_are() -> None:
    rows = FRAME.check_columns(COLUMNS, 2, "key")
    assert rows == Rows(2, {"name": ["a", "b"], "size": [1.5, None]}, ["k-1", "7"])
    assert FRAME.check_columns({"name": ["a", "b"]}, 2, None).columns["size"] == [None, None]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "field 'name': expected a string (without NUL), got nothing: the column is missing"),
        ({"name": ["a", None]}, "row 1, field 'name': expected a string"),
        ({"name": ["a", math.nan]}, "row 1, field 'name': expected a string"),
        ({"size": ["x", "y"]}, "row 0, field 'size': expected a finite number, or null, got \"x\" (1 more"),
        ({"size": [math.inf, 1.0]}, "row 0, field 'size'"),
        ({"colour": ["r", "g"]}, "field 'colour': expected only known columns (name, size), got an unknown column"),
        ({"key": [[], "a"]}, "row 0, field 'key'"),
    ],
)
def test_what_is_wrong_with_columns_is_said(changes: dict[str, Any], message: str) -> None:
    columns = {name: values for name, values in (COLUMNS | changes).items() if values is not None}
    with pytest.raises(RequestError) as caught:
        FRAME.check_columns(columns, 2, "key")
    assert caught.value.status == 422
    assert message in caught.value.message


@pytest.mark.parametrize("kind", sorted(TYPES))
@pytest.mark.parametrize("required", [True, False])
def test_the_quick_check_of_a_column_says_what_the_check_of_each_value_says(kind: str, required: bool) -> None:
    """Over all pairs of awkward values: whatever passes quickly has the values that the slow way gives."""
    awkward: list[Any] = [
        *(0, 1, -1, 2**31 - 1, 2**31, -(2**31), -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400),
        *(0.0, -0.0, 1.5, 3.0, 1e300, -1e300, 3.5e38, math.nan, math.inf, -math.inf),
        *(True, False, None, "", "a", "é", "\x00", "\ud800", "2013-07-01T05:15:00", [], {}),
    ]
    passed = 0
    for values in itertools.product(awkward, repeat=2):
        quick = quick_column(kind, required, values)
        if quick is None:
            continue
        passed += 1
        slow = [None if value is None and not required else TYPES[kind][0](value) for value in values]
        assert [(type(v), v) for v in quick] == [(type(v), v) for v in slow], values
    assert passed or kind in ("float", "datetime")


WHOLE = {"name": "a", "size": 1.5, "key": "k-1"}


@pytest.mark.parametrize(
    "other",
    [
        WHOLE,
        {"name": "b", "size": 2},
        {"name": "b", "key": 7},
        {"name": "b", "size": None, "key": None},
        {"name": "b", "size": 1.0, "colour": "red"},
        {"size": 1.0, "key": "k", "colour": "red"},
        {"name": "b", "size": 1.0, "key": "x" * 501},
        {"name": 7, "size": 1.0, "key": "k"},
        ["b", 1.0, "k"],
        "abc",
    ],
)
def test_records_are_checked_the_same_quickly_and_one_by_one(other: Any) -> None:
    """The quick way either gives what the thorough one gives, or leaves the records to it."""
    for records in ([WHOLE, other], [other, WHOLE], [other]):
        for key in ("key", None, "name"):
            quick = FRAME._quick(records, key)
            if quick is not None:
                assert quick == FRAME._thorough(records, key)
    assert FRAME._quick([WHOLE, WHOLE], "key") is not None
