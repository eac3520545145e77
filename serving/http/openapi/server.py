"""The calls that are not about one model's fields: the Open Inference Protocol's others, MLflow's others, operation."""

from typing import Any

from serving.http.openapi.parts import (
    FLAG,
    TEXT,
    WHOLE,
    Operation,
    Schema,
    answer,
    in_path,
    listed,
    operation,
    record,
    reference,
)
from serving.http.wire import JSON
from serving.protocols.open_inference_codec import FIELD_DATATYPES

_OPEN_INFERENCE, _MLFLOW, _OPERATION = "Open Inference Protocol", "MLflow's scoring protocol", "operation"
_PREDICT_ERRORS = (400, 404, 413, 415, 422, 500, 503)
_FIND_ERRORS = (404, 503)
_PLAIN = "text/plain"
_VERSION = in_path("version", TEXT, "The number of a version, or an alias.")
_DATATYPES = sorted({*FIELD_DATATYPES.values(), "INT8", "INT16", "UINT8", "UINT16", "UINT32", "UINT64", "FP16"})
_DATATYPE: Schema = {"enum": _DATATYPES}
_PARAMETERS: Schema = {"type": ["object", "null"]}


def schemas() -> dict[str, Schema]:
    """Return the components of the Open Inference Protocol."""
    shape = listed({"type": "integer", "minimum": 1}, minItems=1, maxItems=2)
    tensor = {"name": TEXT | {"minLength": 1}, "shape": shape, "datatype": _DATATYPE, "data": listed({})}
    output = record({"name": TEXT, "shape": listed(WHOLE), "datatype": _DATATYPE, "data": listed({})})
    metadata = record(
        {"name": TEXT, "datatype": _DATATYPE, "shape": listed(WHOLE), "parameters": _PARAMETERS},
        ["name", "datatype", "shape"],
    )
    required = [*tensor]
    wanted = record({"name": {"enum": ["predict", "probability"]}})
    outputs = listed(wanted) | {"type": ["array", "null"], "description": "Those to answer; without any, all."}
    return {
        "InferRequest": record(
            {
                "id": {"type": ["string", "null"], "description": "Given back in the answer."},
                "inputs": listed(record(tensor | {"parameters": _PARAMETERS}, required), minItems=1),
                "outputs": outputs,
                "parameters": _PARAMETERS,
            },
            ["inputs"],
        ),
        "InferResponse": record(
            {
                "model_name": TEXT,
                "model_version": TEXT,
                "id": TEXT,
                "parameters": record({"prediction_ids": listed(TEXT | {"format": "uuid"})}),
                "outputs": listed(output),
            }
        ),
        "ModelMetadata": record(
            {
                "name": TEXT,
                "versions": listed(TEXT),
                "platform": TEXT,
                "inputs": listed(metadata),
                "outputs": listed(metadata),
            }
        ),
    }


def paths(names: list[str]) -> dict[str, dict[str, Operation]]:
    """Return the calls by path and method; `names` are the models that are served."""
    model = in_path("model", {"type": "string", "enum": names} if names else TEXT, "The name of a model.")
    return _open_inference() | _open_inference_models(model) | _mlflow(model) | _operation()


def _open_inference() -> dict[str, dict[str, Operation]]:
    server = record({"name": TEXT, "version": TEXT, "extensions": listed(TEXT)})
    live, ready = record({"live": FLAG}), record({"live": FLAG, "ready": FLAG})
    entry = record({"name": TEXT, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT})
    return {
        "/v2": {"get": _protocol("What this server is", "server", {200: answer("About it.", server)}, ())},
        "/v2/health/live": {"get": _health("Whether the process answers", "v2-health-live", live)},
        "/v2/health/ready": {
            "get": _health("Whether every champion was tried", "v2-health-ready", ready, not_yet=True)
        },
        "/v2/repository/index": {
            "post": _protocol(
                "The versions that serve, and those that should",
                "index",
                {200: answer("All of them.", listed(entry))},
                (400, 413),
                body={JSON: {"schema": record({"ready": FLAG}, [])}},
                body_required=False,
            )
        },
    }


def _open_inference_models(model: dict[str, Any]) -> dict[str, dict[str, Operation]]:
    found: dict[str, dict[str, Operation]] = {}
    ready = record({"name": TEXT, "ready": {"const": True}})
    for below, suffix, parameters in (("", "", [model]), ("/versions/{version}", "-version", [model, _VERSION])):
        path = f"/v2/models/{{model}}{below}"
        metadata = {200: answer("Its inputs and outputs.", reference("ModelMetadata"))}
        found[path] = {
            "get": _protocol("What a model takes", f"metadata{suffix}", metadata, (*_FIND_ERRORS, 500), parameters)
        }
        found[f"{path}/ready"] = {
            "get": _protocol(
                "Whether a model serves", f"ready{suffix}", {200: answer("It does.", ready)}, _FIND_ERRORS, parameters
            )
        }
    found["/v2/models/{model}/versions/{version}/infer"] = {
        "post": _protocol(
            "Predict by a version",
            "infer-version",
            {200: answer("The outputs.", reference("InferResponse"))},
            _PREDICT_ERRORS,
            [model, _VERSION],
            body={JSON: {"schema": reference("InferRequest")}},
        )
    }
    for word in ("load", "unload"):
        found[f"/v2/repository/models/{{model}}/{word}"] = {
            "post": _protocol("Not by request: aliases say what serves", word, {}, (400,), [model])
        }
    return found


def _mlflow(model: dict[str, Any]) -> dict[str, dict[str, Operation]]:
    found: dict[str, dict[str, Operation]] = {}
    ping = {200: answer("It does.", None)}
    version = {200: answer("The version, as text.", None)}
    for below, suffix, parameters in (("", "", [model]), ("/versions/{version}", "-version", [model, _VERSION])):
        path = f"/models/{{model}}{below}"
        for word in ("ping", "health"):
            found[f"{path}/{word}"] = {
                "get": _scoring("Whether a model serves", f"{word}{suffix}", ping, _FIND_ERRORS, parameters)
            }
        found[f"{path}/version"] = {
            "get": _scoring("The version of MLflow", f"mlflow{suffix}", version, _FIND_ERRORS, parameters)
        }
    found["/models/{model}/versions/{version}/invocations"] = {
        "post": _scoring(
            "Predict by a version",
            "invocations-version",
            {200: answer("The predictions.", record({"predictions": listed({})}))},
            _PREDICT_ERRORS,
            [model, _VERSION],
            body={JSON: {"schema": {"type": "object"}}, "text/csv": {"schema": TEXT}},
        )
    }
    return found


def _operation() -> dict[str, dict[str, Operation]]:
    alive = record({"alive": {"const": True}})
    ready = record({"ready": FLAG, "reason": TEXT}, ["ready"])
    return {
        "/healthz": {"get": _health("Whether the process answers", "healthz", alive, _OPERATION)},
        "/readyz": {"get": _health("Whether every champion was tried", "readyz", ready, _OPERATION, not_yet=True)},
        "/metrics": {
            "get": operation(
                "Metrics in Prometheus' text format; needs a key with the scope `metrics`",
                _OPERATION,
                "metrics",
                {200: answer("All series of all processes.", TEXT, media_type=_PLAIN)},
            )
        },
        "/webhooks/mlflow": {
            "post": operation(
                "MLflow says that an alias moved",
                _OPERATION,
                "webhook",
                {204: answer("The registry is read at once.", None)},
                (401, 413),
                description="Needs no key but MLflow's signature of the body.",
                body={JSON: {"schema": {"type": "object"}}},
                public=True,
            )
        },
    }


def _protocol(
    summary: str, identity: str, answers: dict[int, Any], errors: tuple[int, ...], parameters: Any = (), **more: Any
) -> Operation:
    return operation(summary, _OPEN_INFERENCE, f"v2-{identity}", answers, errors, parameters=parameters, **more)


def _scoring(
    summary: str, identity: str, answers: dict[int, Any], errors: tuple[int, ...], parameters: Any, **more: Any
) -> Operation:
    return operation(
        summary, _MLFLOW, f"scoring-{identity}", answers, errors, parameters=parameters, shape="MLflow", **more
    )


def _health(
    summary: str, identity: str, schema: Schema, tag: str = _OPEN_INFERENCE, *, not_yet: bool = False
) -> Operation:
    answers = {200: answer("It is so.", schema)} | ({503: answer("Not yet.", schema)} if not_yet else {})
    return operation(f"{summary}; needs no key", tag, identity, answers, public=True)
