"""Which Arrow types a column of a model may have, and a column's values as the signature's check takes them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as is_type

from serving.models.findings import finding, refusal
from serving.models.signature import Signature

_Test = Callable[[pa.DataType], bool]


def _is_text(kind: pa.DataType) -> bool:
    return bool(is_type.is_string(kind) or is_type.is_large_string(kind) or is_type.is_string_view(kind))


_NUMBERS: tuple[_Test, ...] = (is_type.is_integer, is_type.is_floating)
_MOMENTS: tuple[_Test, ...] = (is_type.is_timestamp, is_type.is_date)
_WHOLE = (_NUMBERS, "an integer, or a float of whole numbers")
_REAL = ((*_NUMBERS, is_type.is_decimal), "a float, an integer or a decimal")
_ACCEPTED: Mapping[str, tuple[tuple[_Test, ...], str]] = {
    "string": ((_is_text,), "a string"),
    "boolean": ((is_type.is_boolean,), "bool"),
    "integer": _WHOLE,
    "long": _WHOLE,
    "float": _REAL,
    "double": _REAL,
    "datetime": ((*_MOMENTS, _is_text), "a timestamp, a date or a string of ISO 8601"),
}
_KEY_TESTS: tuple[_Test, ...] = (_is_text, is_type.is_integer)


def check_schema(schema: pa.Schema, signature: Signature, entity_key: str | None) -> None:
    """Check the names and types of a body's columns. Any may be a dictionary, or of nulls only.

    Raises:
        RequestError: 422; the message names the first column and both types, `details` the first 20.
    """
    findings = [
        finding(None, name, "each column once", "two columns of this name")
        for name in sorted({name for name in schema.names if schema.names.count(name) > 1})
    ]
    if findings:
        raise refusal(findings)
    signature.check_columns({name: [] for name in schema.names}, 0, entity_key)
    for field in signature.fields:
        if field.name in schema.names:
            tests, text = _ACCEPTED[field.type]
            kind = schema.field(field.name).type
            if not _fits(kind, tests):
                findings.append(finding(None, field.name, f"a column for {field.type!r}: {text}", f"{kind}"))
    if entity_key in schema.names and entity_key not in {field.name for field in signature.fields}:
        kind = schema.field(entity_key).type
        if not _fits(kind, _KEY_TESTS):
            findings.append(finding(None, entity_key, "a column of strings or integers", f"{kind}"))
    if findings:
        raise refusal(findings)


def values(column: pa.Array) -> list[Any]:
    """Return the values of a column that `check_schema` took, as Python values; null is None.

    A moment with a time zone is given in UTC, without one; nanoseconds are cut to microseconds.
    """
    kind = column.type
    if is_type.is_decimal(kind):
        column = column.cast(pa.float64())
    elif is_type.is_timestamp(kind) or is_type.is_date(kind):
        moments = column.to_numpy(zero_copy_only=False)
        unit = np.datetime_data(moments.dtype)[0]
        given: list[Any] = moments.astype({"D": "M8[s]", "ns": "M8[us]"}.get(unit, moments.dtype)).tolist()
        return given
    items: list[Any] = column.to_pylist()
    return items


def plain(column: pa.Array) -> pa.Array:
    """Return a column without its dictionary, with each row's own copy of the value."""
    if not is_type.is_dictionary(column.type):
        return column
    dictionary = column.dictionary
    if is_type.is_string_view(dictionary.type):
        dictionary = dictionary.cast(pa.large_string())
    taken = pa.compute.take(dictionary, column.indices)
    taken.validate(full=True)
    return taken


def text_bytes(column: pa.Array) -> int:
    """Return how many bytes of text a column holds once each row has its own copy; 0 for a column of no text.

    A dictionary of views counts as a whole, since `plain` has to copy all of it.
    """
    kind = column.type
    if is_type.is_dictionary(kind):
        if not _is_text(kind.value_type) or not len(column.dictionary):
            return 0
        lengths = _lengths(column.dictionary)
        taken = _total(pa.compute.take(lengths, column.indices))
        return max(taken, _total(lengths)) if is_type.is_string_view(kind.value_type) else taken
    return _total(_lengths(column)) if _is_text(kind) else 0


def _lengths(text: pa.Array) -> pa.Array:
    if not is_type.is_string_view(text.type):
        return pa.compute.binary_length(text)
    # a view is 16 bytes and begins with its length; several may lie over the same text
    views = np.frombuffer(text.buffers()[1] or b"", dtype="<i4").reshape(-1, 4)
    return pa.array(views[text.offset : text.offset + len(text), 0])


def _total(lengths: pa.Array) -> int:
    return pa.compute.sum(lengths, min_count=0).as_py() or 0


def _fits(kind: pa.DataType, tests: tuple[_Test, ...]) -> bool:
    if is_type.is_dictionary(kind):
        kind = kind.value_type
    return is_type.is_null(kind) or any(test(kind) for test in tests)
