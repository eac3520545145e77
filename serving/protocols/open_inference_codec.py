"""Tensors of the Open Inference Protocol: from JSON to columns, and from scores to JSON.

Protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md.
The parameter `content_type` of an input is MLServer's: https://mlserver.readthedocs.io/en/latest/user-guide/content-type.html.
"""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from serving.errors import RequestError, show
from serving.http.body import parse_json
from serving.models.signature import Signature

_INTEGERS = {f"INT{bits}": (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) for bits in (8, 16, 32, 64)}
_INTEGERS |= {f"UINT{bits}": (0, (1 << bits) - 1) for bits in (8, 16, 32, 64)}
_NULL = type(None)
_JSON_TYPES: Mapping[str, tuple[frozenset[type], str]] = {
    "BOOL": (frozenset({bool, _NULL}), "true or false"),
    **{f"FP{bits}": (frozenset({float, int, _NULL}), "a number") for bits in (16, 32, 64)},
    **{name: (frozenset({int, _NULL}), f"an integer from {low} to {high}") for name, (low, high) in _INTEGERS.items()},
    "BYTES": (frozenset({str, _NULL}), "a string"),
}
"""By datatype: what JSON gives for its elements, and what a caller is told to send. Null is a missing value."""

ONLY_JSON = "tensors are taken as JSON (with Triton's client: set_data_from_numpy(…, binary_data=False))"
"""What a caller is told who sends tensors in another way."""

FIELD_DATATYPES: Mapping[str, str] = {
    "string": "BYTES",
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "datetime": "BYTES",
}
"""The datatype that the metadata give a field, by the field's type."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A checked input: `data` has `rows` times `width` elements, row by row. One without a second dimension has a
    width of 1."""

    name: str
    rows: int
    width: int
    data: list[Any]


def parse_tensor(position: int, raw: Any) -> Tensor:
    """Return an item of a request's `inputs`, by its position in there.

    Raises:
        RequestError: 400, it is no tensor of one or two dimensions, or shape and data do not agree; 422, an element
            is not of the datatype.
    """
    if type(raw) is not dict:
        raise RequestError(400, f"inputs, item {position}: expected an object with name, shape, datatype and data")
    name = raw.get("name")
    if type(name) is not str or not name:
        raise RequestError(400, f"inputs, item {position}: expected a name (a string), got {show(name)}")
    datatype = raw.get("datatype")
    if type(datatype) is not str or datatype not in _JSON_TYPES:
        raise _wrong(name, f"expected a datatype of {', '.join(_JSON_TYPES)}, got {show(datatype)}")
    shape = raw.get("shape")
    if type(shape) is not list or len(shape) not in (1, 2) or set(map(type, shape)) != {int} or min(shape) < 1:
        raise _wrong(name, f"expected a shape of one or two whole numbers above 0, got {_shown(shape)}")
    if "data" not in raw:
        raise _wrong(name, f"it has no data; {ONLY_JSON}")
    data = _flat(name, raw["data"], shape)
    width = 1 if len(shape) == 1 else shape[1]
    _check_elements(name, datatype, width, data)
    parameters = raw.get("parameters")
    if parameters is not None and type(parameters) is not dict:
        raise _wrong(name, f"expected parameters as an object, got {show(parameters)}")
    if parameters and datatype == "BYTES":
        data = _decoded(name, parameters, width, data)
    return Tensor(name, shape[0], width, data)


def to_columns(tensors: Sequence[Tensor], signature: Signature) -> tuple[dict[str, Sequence[Any]], int]:
    """Return the columns of a request and their length: a tensor of shape [n] or [n, 1] is the column of its name,
    one of shape [n, number of fields] holds all of the signature's fields in their order.

    Raises:
        RequestError: 400, the tensors do not fit together.
    """
    names = [field.name for field in signature.fields]
    count = tensors[0].rows
    columns: dict[str, Sequence[Any]] = {}
    for tensor in tensors:
        if tensor.rows != count:
            first = show(tensors[0].name)
            raise _wrong(tensor.name, f"expected {count} rows as in input {first}, got {tensor.rows}")
        width, data = tensor.width, tensor.data
        if width == 1 and (len(names) > 1 or tensor.name in names):
            _add(columns, tensor.name, data)
        elif width == len(names):
            for position, name in enumerate(names):
                _add(columns, name, data[position::width])
        else:
            expected = (
                f"[{count}] for one field, or [{count}, {len(names)}] for all of the model's fields in their order"
            )
            raise _wrong(tensor.name, f"expected shape {expected}, got [{count}, {width}]")
    return columns, count


def output_tensor(name: str, values: list[Any]) -> dict[str, Any]:
    """Return one value a row as an output, in the shape and with the content type that MLServer's scikit-learn runtime
    gives it."""
    width = 1
    if values and type(values[0]) is list:
        width, values = len(values[0]), list(chain.from_iterable(values))
    datatype = datatype_of(values[0])
    return {
        "name": name,
        "shape": [len(values) // width, width],
        "datatype": datatype,
        "parameters": {"content_type": "str" if datatype == "BYTES" else "np"},
        "data": values,
    }


def datatype_of(value: Any) -> str:
    """Return the datatype of a prediction."""
    return _PREDICTED.get(type(value), "BYTES")


_PREDICTED: Mapping[type, str] = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}


def _flat(name: str, data: Any, shape: list[int]) -> list[Any]:
    """Return a tensor's elements, which a caller may send flat or nested."""
    if type(data) is not list:
        raise _wrong(name, f"expected data as a list, got {show(data)}")
    if len(shape) == 2 and data and type(data[0]) is list:
        if len(data) != shape[0]:
            raise _wrong(name, f"expected {shape[0]} rows of data for shape {shape}, got {len(data)}")
        for row, values in enumerate(data):
            if type(values) is not list or len(values) != shape[1]:
                got = f"a list of {len(values)}" if type(values) is list else show(values)
                raise _wrong(name, f"expected a list of {shape[1]} for shape {shape}, got {got}", f"row {row}, ")
        return list(chain.from_iterable(data))
    size = math.prod(shape)
    if len(data) != size:
        raise _wrong(name, f"expected {size} elements of data for shape {shape}, got {len(data)}")
    return data


def _check_elements(name: str, datatype: str, width: int, data: list[Any]) -> None:
    types, expected = _JSON_TYPES[datatype]
    found = set(map(type, data))
    limits = _INTEGERS.get(datatype)
    if found <= types and (limits is None or _within(*limits, data, _NULL in found)):
        return
    for position, value in enumerate(data):
        if type(value) not in types or (limits and not _within(*limits, [value], value is None)):
            raise _wrong_element(name, position, width, f"expected {expected} ({datatype}), got {show(value)}")


def _within(low: int, high: int, data: list[Any], has_null: bool) -> bool:
    present = [value for value in data if value is not None] if has_null else data
    return not present or (low <= min(present) and max(present) <= high)


def _decoded(name: str, parameters: dict[str, Any], width: int, data: list[Any]) -> list[Any]:
    """Return strings as what the input's content type says they stand for."""
    content_type = parameters.get("content_type")
    if type(content_type) is not str or content_type not in _CONTENT_TYPES:
        return data
    decode, expected = _CONTENT_TYPES[content_type]
    decoded: list[Any] = []
    for position, value in enumerate(data):
        try:
            decoded.append(None if value is None else decode(value))
        except (ValueError, RequestError):
            raise _wrong_element(name, position, width, f"expected {expected}, got {show(value)}") from None
    return decoded


def _base64_text(value: str) -> str:
    return base64.b64decode(value, validate=True).decode()


def _json_value(value: str) -> Any:
    return parse_json(value.encode())


_CONTENT_TYPES: Mapping[str, tuple[Callable[[str], Any], str]] = {
    "base64": (_base64_text, "UTF-8 text in base64"),
    "pd_json": (_json_value, "a JSON text"),
}
"""With any other content type the strings are the values."""


def _add(columns: dict[str, Sequence[Any]], name: str, data: Sequence[Any]) -> None:
    if name in columns:
        raise RequestError(400, f"field {show(name)} is given twice")
    columns[name] = data


def _wrong(name: str, message: str, row: str = "", status: int = 400) -> RequestError:
    return RequestError(status, f"{row}input {show(name)}: {message}")


def _wrong_element(name: str, position: int, width: int, message: str) -> RequestError:
    row, column = divmod(position, width)
    return _wrong(name, f"column {column}: {message}" if width > 1 else message, f"row {row}, ", 422)


def _shown(shape: Any) -> str:
    short = type(shape) is list and len(shape) <= 5 and all(type(size) in (int, float) for size in shape)
    return str(shape) if short else show(shape)
