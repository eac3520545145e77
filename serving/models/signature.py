"""The input signature that MLflow stored with a model, and the check of requests against it."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from operator import itemgetter
from typing import Any

from serving.errors import VersionRefused, show
from serving.models.findings import MAX_DETAILS, finding, refusal
from serving.models.types import TYPES, Mismatch, check_string, quick_column

MAX_ENTITY_KEY_LENGTH = 500
_KEY_EXPECTED = f"a string of at most {MAX_ENTITY_KEY_LENGTH} characters, or an integer"
_TENSOR_TYPES = {
    "float64": "double",
    "float32": "float",
    "int64": "long",
    "int32": "integer",
    "bool": "boolean",
}
_MISSING = object()


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
    """Checked rows, column by column in the order of the signature; null is None. All lists have `count` items."""

    count: int
    columns: dict[str, list[Any]]
    entity_keys: list[str | None]


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several requests to one model as one."""
    if len(parts) == 1:
        return parts[0]
    return Rows(
        sum(part.count for part in parts),
        {name: [value for part in parts for value in part.columns[name]] for name in parts[0].columns},
        [key for part in parts for key in part.entity_keys],
    )


class Signature:
    """The fields of a model's input.

    `tensor` is None for a model that wants a frame. For one that was logged with a single tensor of shape [-1, n] it
    is the tensor's numpy type; its fields are named "0" to "n-1", and a record may also be a list of n values.
    """

    def __init__(self, fields: Iterable[Field], tensor: str | None = None) -> None:
        """Take the fields in the model's order."""
        self.fields = tuple(fields)
        self.tensor = tensor
        self._names = frozenset(field.name for field in self.fields)
        self._ordered = names = [field.name for field in self.fields]
        self._all_double = all(field.type == "double" for field in self.fields)
        # of a single name, itemgetter gives the value alone
        self._values: Callable[[dict[str, Any]], tuple[Any, ...]] = (
            itemgetter(*names) if len(names) > 1 else lambda record: tuple(record[name] for name in names)
        )

    def check(self, records: list[Any], entity_key: str | None) -> Rows:
        """Check records and turn them into columns.

        Args:
            records: parsed JSON values, one a record.
            entity_key: field that names what a record is about; allowed in a record even if it is no input.

        Raises:
            RequestError: 422; the message names the first finding, `details` the first `MAX_DETAILS`.
        """
        if self.tensor is not None:
            records = [self._named(record) for record in records]
        rows = self._quick(records, entity_key)
        return self._thorough(records, entity_key) if rows is None else rows

    def _quick(self, records: list[Any], entity_key: str | None) -> Rows | None:
        """Check records that have exactly the fields, and the entity key if any, with values that columns show to be
        good. None says nothing: they have to be gone through one by one."""
        if set(map(type, records)) != {dict}:
            return None
        extra = entity_key is not None and entity_key not in self._names and entity_key in records[0]
        if set(map(len, records)) != {len(self.fields) + extra}:
            return None
        try:
            values = list(zip(*map(self._values, records), strict=True))
            keys = _quick_keys([record[entity_key] if extra else None for record in records])
        except KeyError:
            return None
        if keys is None or entity_key in self._names:
            return None
        columns = self._quick_numbers(values) if self._all_double else self._quick_columns(values)
        return None if columns is None else Rows(len(records), columns, keys)

    def _quick_numbers(self, values: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]] | None:
        """Look at all columns at once, where all are numbers that may not be missing."""
        flat = list(chain.from_iterable(values))
        if set(map(type, flat)) != {float} or not isfinite(sum(flat)):
            return self._quick_columns(values)
        return dict(zip(self._ordered, map(list, values), strict=True))

    def _quick_columns(self, values: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]] | None:
        columns = {}
        for field, column in zip(self.fields, values, strict=True):
            quick = quick_column(field.type, field.required, column)
            if quick is None:
                return None
            columns[field.name] = quick
        return columns

    def _thorough(self, records: list[Any], entity_key: str | None) -> Rows:
        findings = [
            finding(row, None, "an object of field: value", show(record))
            for row, record in enumerate(records)
            if type(record) is not dict
        ]
        if findings:
            raise refusal(findings)
        columns = {
            field.name: self._column(field, [record.get(field.name, _MISSING) for record in records], findings)
            for field in self.fields
        }
        nulls = [None] * len(records)
        given = nulls if entity_key is None else [record.get(entity_key) for record in records]
        keys = self._entity_keys(entity_key, given, findings)
        self._refuse_unknown(records, entity_key, findings)
        if findings:
            raise refusal(findings)
        return Rows(len(records), columns, keys)

    def check_columns(
        self, columns: Mapping[str, Sequence[Any]], count: int, entity_key: str | None, first_row: int = 0
    ) -> Rows:
        """Check columns of `count` values each. NaN counts as null. Raises what `check` raises.

        `first_row` is what the first row is called in a message.
        """
        findings = [
            finding(None, name, f"only known columns ({self._known})", "an unknown column")
            for name in columns
            if name not in self._names and name != entity_key
        ]
        for field in self.fields:
            if field.name not in columns and field.required:
                findings.append(finding(None, field.name, field.expected, "nothing: the column is missing"))
        if findings:
            raise refusal(findings)
        nulls = [None] * count
        checked = {
            field.name: self._column_with_nan(field, columns.get(field.name, nulls), findings) for field in self.fields
        }
        given = columns.get(entity_key, nulls) if entity_key is not None else nulls
        entity_keys = self._entity_keys(entity_key, given, findings)
        if findings:
            raise refusal([one | {"row": first_row + one["row"]} for one in findings])
        return Rows(count, checked, entity_keys)

    @property
    def _known(self) -> str:
        return ", ".join(field.name for field in self.fields)

    def _named(self, record: Any) -> Any:
        if type(record) is list and len(record) == len(self.fields):
            return {field.name: value for field, value in zip(self.fields, record, strict=True)}
        return record

    def _column_with_nan(self, field: Field, values: Sequence[Any], findings: list[dict[str, Any]]) -> list[Any]:
        quick = quick_column(field.type, field.required, values)  # refuses NaN, so that most columns are not searched
        return self._column(field, _without_nan(values), findings) if quick is None else quick

    def _column(self, field: Field, values: Sequence[Any], findings: list[dict[str, Any]]) -> list[Any]:
        quick = quick_column(field.type, field.required, values)
        if quick is not None:
            return quick
        convert = TYPES[field.type][0]
        checked: list[Any] = []
        found = 0
        for row, value in enumerate(values):
            if (value is None or value is _MISSING) and not field.required:
                checked.append(None)
                continue
            try:
                checked.append(convert(value))
            except Mismatch:
                got = "nothing: the field is missing" if value is _MISSING else show(value)
                findings.append(finding(row, field.name, field.expected, got))
                found += 1
                if found == MAX_DETAILS:
                    break
        return checked

    def _entity_keys(self, name: str | None, values: Sequence[Any], findings: list[dict[str, Any]]) -> list[str | None]:
        if name is None:
            return list(values)
        keys: list[str | None] = []
        for row, value in enumerate(values):
            try:
                keys.append(_entity_key(value))
            except Mismatch:
                findings.append(finding(row, name, _KEY_EXPECTED, show(value)))
        return keys

    def _refuse_unknown(
        self, records: Sequence[dict[str, Any]], entity_key: str | None, findings: list[dict[str, Any]]
    ) -> None:
        allowed = self._names if entity_key is None else self._names | {entity_key}
        for row, record in enumerate(records):
            if not record.keys() <= allowed:
                findings.extend(
                    finding(row, name, f"only known fields ({self._known})", "an unknown field")
                    for name in record
                    if name not in allowed
                )


def parse_signature(mlmodel: Mapping[str, Any]) -> Signature:
    """Read the input signature of a model from its MLmodel file.

    Raises:
        VersionRefused: there is none, or it has something else than columns of simple types or one tensor of rows.
    """
    advice = "log the model with a DataFrame as input_example, or signature=infer_signature(frame, predictions)"
    raw = (mlmodel.get("signature") or {}).get("inputs")
    if not raw:
        raise VersionRefused(f"it has no input signature; {advice}")
    columns = json.loads(raw)
    if len(columns) == 1 and columns[0].get("type") == "tensor" and not columns[0].get("name"):
        return _tensor_signature(columns[0]["tensor-spec"])
    fields = []
    for column in columns:
        name, kind = column.get("name"), column.get("type")
        if not name or kind not in TYPES:
            where = f"column {show(name)}" if name else "its input"
            raise VersionRefused(
                f"the signature is not one that can be served: {where} has type {show(kind)}, "
                f"supported are named columns of {', '.join(TYPES)}; {advice}"
            )
        fields.append(Field(name, kind, column.get("required", True)))
    return Signature(fields)


def _tensor_signature(spec: Mapping[str, Any]) -> Signature:
    dtype, shape = spec["dtype"], spec["shape"]
    if dtype not in _TENSOR_TYPES or len(shape) != 2 or shape[1] < 1:
        raise VersionRefused(
            f"the signature is not one that can be served: a tensor of {dtype} and shape {shape}, supported are "
            f"tensors of shape [-1, n] of {', '.join(_TENSOR_TYPES)}"
        )
    kind = _TENSOR_TYPES[dtype]
    optional = kind in ("double", "float")  # NaN, which JSON writes as null
    return Signature((Field(str(number), kind, not optional) for number in range(shape[1])), dtype)


def _quick_keys(keys: list[Any]) -> list[str | None] | None:
    quick = quick_column("string", False, keys)
    longest = max(filter(None, quick), key=len, default="") if quick is not None else ""
    return quick if len(longest) <= MAX_ENTITY_KEY_LENGTH else None


def _without_nan(values: Sequence[Any]) -> Sequence[Any]:
    if any(type(value) is float and math.isnan(value) for value in values):
        return [None if type(value) is float and math.isnan(value) else value for value in values]
    return values


def _entity_key(value: Any) -> str | None:
    if value is None:
        return None
    if type(value) is int:
        value = str(value)
    if len(check_string(value)) > MAX_ENTITY_KEY_LENGTH:
        raise Mismatch
    return value
