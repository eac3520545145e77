"""A model's signature as JSON Schema, and its example in the words of each protocol."""

from collections.abc import Mapping
from typing import Any

from serving.http.openapi.parts import Schema, listed, record
from serving.models.model import ServedModel
from serving.models.signature import MAX_ENTITY_KEY_LENGTH, Field
from serving.protocols.open_inference_codec import FIELD_DATATYPES

MAX_CLASSES = 50
"""A model of more has its predictions described by type alone."""
TEXT_PATTERN = "^[^\\u0000]*$"
_FLOAT32_MAX, _FLOAT64_MAX = 3.4028234663852886e38, 1.7976931348623157e308
_TYPES: Mapping[str, Schema] = {
    "string": {"type": "string", "pattern": TEXT_PATTERN},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32", "minimum": -(1 << 31), "maximum": (1 << 31) - 1},
    "long": {"type": "integer", "format": "int64", "minimum": -(1 << 63), "maximum": (1 << 63) - 1},
    "float": {"type": "number", "format": "float", "minimum": -_FLOAT32_MAX, "maximum": _FLOAT32_MAX},
    "double": {"type": "number", "format": "double", "minimum": -_FLOAT64_MAX, "maximum": _FLOAT64_MAX},
    "datetime": {
        "type": "string",
        "format": "date-time-local",
        "description": "ISO 8601, from 1678 to 2261; what has an offset is converted to UTC.",
    },
}
ENTITY_KEY: Schema = {
    "anyOf": [
        {"type": "string", "pattern": TEXT_PATTERN, "maxLength": MAX_ENTITY_KEY_LENGTH},
        {"type": ["integer", "null"]},
    ]
}


def record_schema(model: ServedModel) -> Schema:
    """Return the schema of one record: the model's fields, and its entity key."""
    properties = {field.name: _field(field) for field in model.signature.fields}
    key = model.entity_key
    if key is not None and key not in properties:
        properties[key] = ENTITY_KEY | {"description": "What the record is about; stored, not an input of the model."}
    required = [field.name for field in model.signature.fields if field.required]
    return record(properties, required, additionalProperties=False, examples=[dict(model.example)])


def row_schema(model: ServedModel) -> Schema:
    """Return the schema of a row without names: one value for each field, in order."""
    fields = model.signature.fields
    return {
        "type": "array",
        "prefixItems": [_field(field) for field in fields],
        "minItems": len(fields),
        "maxItems": len(fields),
    }


def columns_schema(model: ServedModel) -> Schema:
    """Return the schema of columns by name."""
    properties = {field.name: listed(_field(field), minItems=1) for field in model.signature.fields}
    return record(properties, [field.name for field in model.signature.fields if field.required])


def prediction_schema(model: ServedModel, prediction: Any) -> Schema:
    """Return the schema of one prediction; `prediction` is one that the model made."""
    if model.classes is not None and len(model.classes) <= MAX_CLASSES:
        return {"enum": model.classes}
    if isinstance(prediction, bool):
        return {"type": "boolean"}
    if isinstance(prediction, (int, float)):
        return {"type": "number"}
    return {"type": "string"} if isinstance(prediction, str) else {}


def example_row(model: ServedModel) -> list[Any]:
    """Return the example's values in the order of the fields; null for what it does not have."""
    return [model.example.get(field.name) for field in model.signature.fields]


def example_inputs(model: ServedModel) -> list[dict[str, Any]]:
    """Return the example as tensors of the Open Inference Protocol."""
    fields, row = model.signature.fields, example_row(model)
    if model.signature.tensor is not None:
        datatype = FIELD_DATATYPES[fields[0].type]
        return [{"name": "input-0", "shape": [1, len(fields)], "datatype": datatype, "data": row}]
    return [
        {"name": field.name, "shape": [1], "datatype": FIELD_DATATYPES[field.type], "data": [value]}
        for field, value in zip(fields, row, strict=True)
        if value is not None
    ]


def _field(field: Field) -> Schema:
    schema = dict(_TYPES[field.type])
    if not field.required:
        schema["type"] = [schema["type"], "null"]
    return schema
