"""The input signature that MLflow stored with a model, and the check of records against it."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from serving.errors import RequestError, VersionRefused, show

MAX_DETAILS = 20
MAX_ENTITY_KEY_LENGTH = 500
_FLOAT32_MAX = 3.4028234663852886e38
_DATETIME_YEARS = range(1678, 2262)
"""Whole years that nanoseconds since 1970 in 64 bits can hold."""


class _Mismatch(Exception):
    """A value is not of its field's type."""


def _string(value: Any) -> str:
    # PostgreSQL's jsonb has no NUL, and no text has half of a surrogate pair.
    if type(value) is str and "\x00" not in value and (value.isascii() or _is_unicode(value)):
        return value
    raise _Mismatch


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise _Mismatch


def _integer(bits: int) -> Callable[[Any], int]:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1

    def convert(value: Any) -> int:
        # 3.0 is an integer in JSON Schema, and what pandas writes for an integer column with a gap in it.
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is int and low <= value <= high:
            return value
        raise _Mismatch

    return convert


def _number(limit: float) -> Callable[[Any], float]:
    def convert(value: Any) -> float:
        if type(value) is not float:
            if type(value) is not int:
                raise _Mismatch
            try:
                value = float(value)
            except OverflowError:
                raise _Mismatch from None
        if -limit <= value <= limit:
            return value
        raise _Mismatch

    return convert


def _datetime(value: Any) -> datetime:
    if type(value) is str:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise _Mismatch from None
        if moment.tzinfo is not None and moment.year in _DATETIME_YEARS:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        if moment.year in _DATETIME_YEARS:
            return moment
    raise _Mismatch


TYPES: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "string": (_string, "a string (without NUL)"),
    "boolean": (_boolean, "true or false"),
    "integer": (_integer(32), f"an integer from {-(1 << 31)} to {(1 << 31) - 1}"),
    "long": (_integer(64), f"an integer from {-(1 << 63)} to {(1 << 63) - 1}"),
    "float": (_number(_FLOAT32_MAX), "a finite number in the range of float32"),
    "double": (_number(math.nextafter(math.inf, 0)), "a finite number"),
    "datetime": (_datetime, "an ISO 8601 date and time such as 2013-07-01T05:15:00"),
}
"""MLflow's column types: the check of a JSON value, and what a caller is told to send."""


@dataclass(frozen=True, slots=True)
class Field:
    """One input column. `type` is a key of `TYPES`; a field that is not required may be null or left out."""

    name: str
    type: str
    required: bool

    @property
    def expected(self) -> str:
        """What a caller is told to send."""
        return TYPES[self.type][1] + ("" if self.required else ", or null")


@dataclass(slots=True)
class Rows:
    """Checked records, column by column in the order of the signature; null is None. All lists have `count` items."""

    count: int
    columns: dict[str, list[Any]]
    entity_keys: list[str | None]


class Signature:
    """The fields of a model's input."""

    def __init__(self, fields: list[Field]) -> None:
        """Take the fields in the model's order."""
        self.fields = tuple(fields)
        self._names = frozenset(field.name for field in fields)

    def check(self, records: list[Any], entity_key: str | None) -> Rows:
        """Check records and turn them into columns.

        Args:
            records: parsed JSON values, one a record.
            entity_key: field that names what a record is about; allowed in a record even if it is no input.

        Raises:
            RequestError: 422; the message names the first finding, `details` the first `MAX_DETAILS`.
        """
        findings: list[dict[str, Any]] = []
        rows = Rows(len(records), {field.name: [] for field in self.fields}, [])
        plan = [(field, TYPES[field.type][0], field.required, rows.columns[field.name].append) for field in self.fields]
        for index, record in enumerate(records):
            if type(record) is not dict:
                findings.append(_finding(index, None, "an object of field: value", show(record)))
                continue
            for field, convert, required, append in plan:
                value = record.get(field.name)
                if value is None and not required:
                    append(None)
                    continue
                try:
                    append(convert(value))
                except _Mismatch:
                    got = show(value) if field.name in record else "nothing: the field is missing"
                    findings.append(_finding(index, field.name, field.expected, got))
            self._check_other_fields(index, record, entity_key, rows, findings)
            if len(findings) >= MAX_DETAILS:
                break
        if findings:
            raise _refusal(findings[:MAX_DETAILS])
        return rows

    def _check_other_fields(
        self, index: int, record: dict[str, Any], entity_key: str | None, rows: Rows, findings: list[dict[str, Any]]
    ) -> None:
        if entity_key is None:
            rows.entity_keys.append(None)
        else:
            try:
                rows.entity_keys.append(_entity_key(record.get(entity_key)))
            except _Mismatch:
                expected = f"a string of at most {MAX_ENTITY_KEY_LENGTH} characters, or an integer"
                findings.append(_finding(index, entity_key, expected, show(record[entity_key])))
        if not record.keys() <= self._names:
            known = ", ".join(field.name for field in self.fields)
            findings.extend(
                _finding(index, name, f"only known fields ({known})", "an unknown field")
                for name in record
                if name not in self._names and name != entity_key
            )


def parse_signature(mlmodel: Mapping[str, Any]) -> Signature:
    """Read the input signature of a model from its MLmodel file.

    Raises:
        VersionRefused: there is none, or it has something else than columns of simple types.
    """
    advice = "log the model with a DataFrame as input_example, or signature=infer_signature(frame, predictions)"
    raw = (mlmodel.get("signature") or {}).get("inputs")
    if not raw:
        raise VersionRefused(f"it has no input signature; {advice}")
    fields = []
    for column in json.loads(raw):
        name, kind = column.get("name"), column.get("type")
        if not name or kind not in TYPES:
            where = f"column {show(name)}" if name else "its input"
            raise VersionRefused(
                f"the signature is not one that can be served: {where} has type {show(kind)}, "
                f"supported are named columns of {', '.join(TYPES)}; {advice}"
            )
        fields.append(Field(name, kind, column.get("required", True)))
    return Signature(fields)


def _entity_key(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is int:
        value = str(value)
    if len(_string(value)) > MAX_ENTITY_KEY_LENGTH:
        raise _Mismatch
    return value


def _finding(row: int, field: str | None, expected: str, got: str) -> dict[str, Any]:
    safe = None if field is None else field.encode("utf-8", "backslashreplace").decode()
    return {"row": row, "field": safe, "expected": expected, "got": got}


def _refusal(findings: list[dict[str, Any]]) -> RequestError:
    first = findings[0]
    where = f"row {first['row']}" + (f", field {first['field']!r}" if first["field"] is not None else "")
    more = f" ({len(findings) - 1} more in details)" if len(findings) > 1 else ""
    return RequestError(422, f"{where}: expected {first['expected']}, got {first['got']}{more}", findings)
