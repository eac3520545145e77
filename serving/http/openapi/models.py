"""The calls of one model, with its own fields, types and example."""

import re
from typing import Any
from urllib.parse import quote

from serving.http.openapi.fields import (
    TEXT_PATTERN,
    columns_schema,
    example_inputs,
    example_row,
    prediction_schema,
    record_schema,
    row_schema,
)
from serving.http.openapi.parts import (
    NUMBER,
    TEXT,
    WHOLE,
    Operation,
    Schema,
    answer,
    listed,
    operation,
    query,
    record,
    reference,
)
from serving.http.wire import JSON
from serving.ids import MAX_ROWS
from serving.models.catalog import Deployment
from serving.models.model import ServedModel
from serving.models.signature import MAX_ENTITY_KEY_LENGTH
from serving.protocols.batch import MEDIA_TYPES
from serving.protocols.feedback import MAX_ITEMS
from serving.protocols.mlflow_scoring import CSV

_ERRORS = (400, 404, 413, 415, 422, 500, 503)
_ID = "0193f2a0-1b2c-7d3e-8f40-5a6b7c800000"
_BINARY: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}


class ModelCalls:
    """The calls of one model."""

    def __init__(self, name: str, deployment: Deployment, number: int) -> None:
        """Describe a deployment; `number` tells it from others whose names differ in punctuation only."""
        versions = deployment.versions()
        self._model = versions[0]
        self._name = name
        self._component = f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}-{number}"
        self._path = quote(name, safe="")
        self._chosen = [
            query("version", _one_of([str(model.version) for model in versions]), "A version to ask, by its number."),
            query("alias", _one_of([model.role for model in versions]), "A version to ask, by its alias."),
        ]
        scores = self._model.score(self._model.signature.check([dict(self._model.example)], self._model.entity_key))
        self._prediction = scores.predictions[0]
        self._probability = None if scores.probabilities is None else scores.probabilities[0]
        self._roles = [model.role for model in versions]

    def schemas(self) -> dict[str, Schema]:
        """Return the components that the calls refer to."""
        prediction = prediction_schema(self._model, self._prediction)
        return {f"{self._component}.Record": record_schema(self._model), f"{self._component}.Prediction": prediction}

    def paths(self) -> dict[str, dict[str, Operation]]:
        """Return the calls by path and method."""
        below, protocol = f"/models/{self._path}", f"/v2/models/{self._path}"
        return {
            f"{below}/predict": {"post": self._predict()},
            f"{below}/batch": {"post": self._batch()},
            f"{below}/feedback": {"post": self._feedback()},
            f"{below}/invocations": {"post": self._invocations()},
            f"{protocol}/infer": {"post": self._infer()},
        }

    @property
    def _record(self) -> Schema:
        return reference(f"{self._component}.Record")

    @property
    def _predicted(self) -> Schema:
        return reference(f"{self._component}.Prediction")

    def _call(self, summary: str, call: str, *arguments: Any, **more: Any) -> Operation:
        return operation(summary, self._name, f"{call}-{self._component}", *arguments, **more)

    def _predict(self) -> Operation:
        model = self._model
        rows = self._record
        if model.signature.tensor is not None:
            rows = {"anyOf": [rows, row_schema(model)]}
        body = record({"records": listed(rows, minItems=1, maxItems=MAX_ROWS)}, additionalProperties=False)
        predicted = record(
            {
                "prediction_id": {"type": "string", "format": "uuid", "description": "Under which it is stored."},
                "prediction": self._predicted,
                "probability": _probability(model),
            }
        )
        about = {"model": {"const": self._name}, "version": WHOLE, "role": {"enum": self._roles}}
        example = {"prediction_id": _ID, "prediction": self._prediction, "probability": self._probability}
        whole = {"model": self._name, "version": model.version, "role": model.role, "predictions": [example]}
        return self._call(
            "Predict records",
            "predict",
            {
                200: answer(
                    "The predictions in the order of the records, all by the same version.",
                    record(about | {"predictions": listed(predicted)}),
                    examples={"answer": {"value": whole}},
                )
            },
            _ERRORS,
            description="A field that is not required may be null or left out. A canary gets its share of the calls: "
            "those with the same entity key in the first record, or the same header `X-Routing-Key`, get the same "
            "version.",
            body={JSON: {"schema": body, "examples": {"example": {"value": {"records": [dict(model.example)]}}}}},
            parameters=self._chosen,
        )

    def _batch(self) -> Operation:
        fields = ", ".join(f"`{field.name}` ({field.type})" for field in self._model.signature.fields)
        return self._call(
            "Predict an Arrow or Parquet table of any size",
            "batch",
            {
                200: {
                    **answer("A table of the predictions, in the order of the rows.", None),
                    "content": {name: {"schema": _BINARY} for name in MEDIA_TYPES},
                }
            },
            (*_ERRORS, 406),
            description=f"Columns: {fields}. The answer is streamed and all by one version; `Accept` says in which of "
            "the formats. Its columns are `prediction_id`, the entity key if the table has it, `prediction` and "
            "`probability`; the schema's metadata tell `model`, `version`, `role` and the number of `rows`. What is "
            "wrong with a row is told before anything is scored. An answer that fails on its way is cut off, so that "
            "it cannot be read as a whole one.",
            body={name: {"schema": _BINARY} for name in MEDIA_TYPES},
            parameters=self._chosen,
        )

    def _feedback(self) -> Operation:
        common = {
            "outcome": {
                "type": ["string", "number", "boolean"],
                "pattern": TEXT_PATTERN,
                "description": "What turned out to be true.",
            },
            "observed_at": {"type": ["string", "null"], "format": "date-time"},
        }
        by_id: dict[str, Schema] = {"prediction_id": {"type": "string", "format": "uuid"}}
        by_key: dict[str, Schema] = {
            "entity_key": {
                "type": ["string", "integer"],
                "minLength": 1,
                "maxLength": MAX_ENTITY_KEY_LENGTH,
                "pattern": TEXT_PATTERN,
            }
        }
        item = {
            "anyOf": [record(key | common, [*key, "outcome"], additionalProperties=False) for key in (by_id, by_key)]
        }
        body = record({"feedback": listed(item, minItems=1, maxItems=MAX_ITEMS)}, additionalProperties=False)
        example = {"feedback": [{"prediction_id": _ID, "outcome": self._prediction}]}
        return self._call(
            "Tell what turned out to be true",
            "feedback",
            {202: answer("They are written down.", record({"model": {"const": self._name}, "accepted": WHOLE}))},
            (400, 404, 413, 415, 422, 503),
            description="By the id of a prediction, or by entity key. It may come late; a later outcome replaces the "
            "one before, a repeated one changes nothing.",
            body={JSON: {"schema": body, "examples": {"example": {"value": example}}}},
        )

    def _invocations(self) -> Operation:
        model, row = self._model, example_row(self._model)
        names = [field.name for field in model.signature.fields]
        columns = listed(TEXT)
        if model.signature.tensor is not None:
            columns["type"] = ["array", "null"]  # its columns have numbers for names, which may be left out
        split = record(
            {"columns": columns, "data": listed(listed({}), minItems=1)},
            ["data"] if model.signature.tensor is not None else ["columns", "data"],
        )
        rows = listed({"anyOf": [self._record, row_schema(model)]}, minItems=1)
        forms: dict[str, Schema] = {
            "dataframe_split": split,
            "dataframe_records": listed(self._record, minItems=1),
            "instances": rows,
            "inputs": {"anyOf": [columns_schema(model), rows]},
        }
        examples: dict[str, Any] = {
            "dataframe_split": {"columns": names, "data": [row]},
            "dataframe_records": [dict(model.example)],
            "instances": [row],
            "inputs": {name: [value] for name, value in zip(names, row, strict=True) if value is not None},
        }
        json_body = {
            "schema": {"oneOf": [record({name: schema}) for name, schema in forms.items()]},
            "examples": {name: {"value": {name: value}} for name, value in examples.items()},
        }
        return self._call(
            "Predict by MLflow's scoring protocol",
            "invocations",
            {
                200: answer(
                    "The predictions; their ids begin with the one in the header `X-Prediction-Id`.",
                    record({"predictions": listed(self._predicted)}),
                    examples={"answer": {"value": {"predictions": [self._prediction]}}},
                )
            },
            _ERRORS,
            description="What a client of `mlflow models serve` sends to `/invocations`.",
            body={JSON: json_body, CSV: {"schema": TEXT}},
            parameters=self._chosen,
            shape="MLflow",
        )

    def _infer(self) -> Operation:
        example = {"inputs": example_inputs(self._model)}
        return self._call(
            "Predict by the Open Inference Protocol",
            "infer",
            {200: answer("The outputs, and the ids of the predictions.", reference("InferResponse"))},
            _ERRORS,
            description="Each field is a tensor of one column; a model that was logged with a tensor takes that one.",
            body={JSON: {"schema": reference("InferRequest"), "examples": {"example": {"value": example}}}},
        )


def _one_of(values: list[str]) -> Schema:
    return {"type": "string", "enum": list(dict.fromkeys(values))}


def _probability(model: ServedModel) -> Schema:
    if model.classes is None:
        return {"type": "null", "description": "This model has none."}
    whose = "the positive class" if len(model.classes) == 2 else "the predicted class"
    return {"type": [NUMBER["type"], "null"], "description": f"Of {whose}.", "minimum": 0, "maximum": 1}
