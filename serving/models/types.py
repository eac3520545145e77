"""MLflow's column types: the check of one JSON value, and a quick check of a whole column."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_FLOAT32_MAX = 3.4028234663852886e38
_EXACT_IN_FLOAT = 2.0**53
_DATETIME_YEARS = range(1678, 2262)
"""Whole years that nanoseconds since 1970 in 64 bits can hold."""


class Mismatch(Exception):
    """A value is not of its field's type."""


def check_string(value: Any) -> str:
    """Return a text that PostgreSQL can keep, or raise `Mismatch`."""
    # PostgreSQL's jsonb has no NUL, and no text has half of a surrogate pair.
    if type(value) is str and "\x00" not in value and (value.isascii() or _is_unicode(value)):
        return value
    raise Mismatch


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise Mismatch


def _integer(bits: int) -> Callable[[Any], int]:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def convert(value: Any) -> int:
        # 3.0 is an integer in JSON Schema, and what pandas writes for an integer column with a gap in it. Beyond what
        # a float holds exactly it may stand for another integer, as what JSON gives for one of more than 64 bits does.
        if type(value) is float and value.is_integer() and abs(value) <= _EXACT_IN_FLOAT:
            value = int(value)
        if type(value) is int and low <= value <= high:
            return value
        raise Mismatch

    return convert


def _number(limit: float) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        if type(value) is not float:
            if type(value) is not int:
                raise Mismatch
            try:
                value = float(value)
            except OverflowError:
                raise Mismatch from None
        if -limit <= value <= limit:
            return value
        raise Mismatch

    return convert


def _datetime(value: Any) -> datetime:
    if type(value) is str:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise Mismatch from None
    if type(value) is datetime:
        if value.tzinfo is not None and value.year in _DATETIME_YEARS:
            value = value.astimezone(UTC).replace(tzinfo=None)
        if value.year in _DATETIME_YEARS:
            return value
    raise Mismatch


TYPES: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "string": (check_string, "a string (without NUL)"),
    "boolean": (_boolean, "true or false"),
    "integer": (_integer(32), f"an integer from {-(1 << 31)} to {(1 << 31) - 1}"),
    "long": (_integer(64), f"an integer from {-(1 << 63)} to {(1 << 63) - 1}"),
    "float": (_number(_FLOAT32_MAX), "a finite number in the range of float32"),
    "double": (_number(math.nextafter(math.inf, 0)), "a finite number"),
    "datetime": (_datetime, "an ISO 8601 date and time such as 2013-07-01T05:15:00"),
}
"""By type: the check of a JSON value (it raises `Mismatch`), and what a caller is told to send."""

_NONE = type(None)
_INTEGER_LIMITS = {"integer": (-(1 << 31), (1 << 31) - 1), "long": (-(1 << 63), (1 << 63) - 1)}


def quick_column(kind: str, required: bool, values: Sequence[Any]) -> list[Any] | None:
    """Return a column's values as the types in `TYPES` would, if that is seen without a look at each.

    None says nothing: the column has to be gone through value by value.
    """
    found = set(map(type, values))
    if _NONE in found:
        if required:
            return None
        found.discard(_NONE)
        present = [value for value in values if value is not None]
    else:
        present = values if type(values) is list else list(values)
    if not found:
        return list(values)
    check = _QUICK.get(kind)
    if check is None or not check(kind, found, present):
        return None
    if kind == "double" and int in found:
        return [None if value is None else float(value) for value in values]
    return present if len(present) == len(values) else list(values)


def _quick_double(_: str, found: set[type], present: list[Any]) -> bool:
    if not found <= {float, int}:
        return False
    try:
        return math.isfinite(sum(present, 0.0))
    except OverflowError:
        return False


def _quick_integer(kind: str, found: set[type], present: list[Any]) -> bool:
    low, high = _INTEGER_LIMITS[kind]
    return found == {int} and low <= min(present) and max(present) <= high


def _quick_string(_: str, found: set[type], present: list[Any]) -> bool:
    if found != {str}:
        return False
    text = "".join(present)
    return "\x00" not in text and text.isascii()


def _quick_boolean(_: str, found: set[type], __: list[Any]) -> bool:
    return found == {bool}


_QUICK: Mapping[str, Callable[[str, set[type], list[Any]], bool]] = {
    "double": _quick_double,
    "integer": _quick_integer,
    "long": _quick_integer,
    "string": _quick_string,
    "boolean": _quick_boolean,
}
