"""The Open Inference Protocol, version 2, over REST, as KServe, Triton and MLServer speak it.

Protocol: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md; the
repository index is Triton's extension of it. A version in a path is a number or an alias. Triton's binary tensors
are not taken; where a client asks for binary outputs it gets JSON, which Triton's clients read as well.
"""

from typing import Any
from weakref import WeakKeyDictionary

import orjson

from serving.errors import RequestError, show
from serving.http.body import parse_json, read_json
from serving.http.routes import Route, header_list
from serving.http.wire import JSON, HttpRequest, HttpResponse, json_answer
from serving.models.catalog import Catalog
from serving.models.model import Scores, ServedModel
from serving.models.signature import Rows
from serving.plane.plane import Answer, Ask, Plane
from serving.protocols.open_inference_codec import (
    FIELD_DATATYPES,
    ONLY_JSON,
    Tensor,
    output_tensor,
    parse_tensor,
    to_columns,
)

SERVER = {"name": "mlops-platform", "version": "1", "extensions": ["model_repository(index)"]}
_PLATFORM = "sklearn_mlflow"
_TENSOR_NAME = "input-0"
_SINGLE_TENSOR = ("np", "str")
"""Content types of MLServer's codecs that read a response only if it has a single output."""


class InferRequest:
    """The body of an inference request."""

    __slots__ = ("_outputs", "_tensors", "id", "single")

    def __init__(self, content: Any) -> None:
        """Take parsed JSON.

        Raises:
            RequestError: 400 or 422, it is no inference request.
        """
        if type(content) is not dict:
            raise RequestError(400, f'expected a body like {{"inputs": [...]}}, got {show(content)}')
        self.id: str | None = _identity(content.get("id"))
        inputs = content.get("inputs")
        if type(inputs) is not list or not inputs:
            raise RequestError(400, f"inputs: expected a list of at least one tensor, got {show(inputs)}")
        self._tensors: list[Tensor] = [parse_tensor(position, raw) for position, raw in enumerate(inputs)]
        self._outputs = _output_names(content.get("outputs"))
        parameters = content.get("parameters")
        if parameters is None:
            parameters = {}
        if type(parameters) is not dict:
            raise RequestError(400, f"parameters: expected an object, got {show(parameters)}")
        self.single = parameters.get("content_type") in _SINGLE_TENSOR

    def routing_key(self, entity_key: str | None) -> str | None:
        """See `Payload.routing_key`."""
        for tensor in self._tensors:
            if tensor.name == entity_key:
                return None if tensor.data[0] is None else str(tensor.data[0])
        return None

    def rows(self, model: ServedModel) -> Rows:
        """See `Payload.rows`.

        Raises:
            RequestError: also 400, an output is asked for that the model does not have.
        """
        if self._outputs is not None:
            known = output_names(model)
            for name in self._outputs:
                if name not in known:
                    raise RequestError(400, f"no output {show(name)}; this model's outputs are {', '.join(known)}")
        columns, count = to_columns(self._tensors, model.signature)
        return model.signature.check_columns(columns, count, model.entity_key)

    def outputs(self, scores: Scores) -> list[dict[str, Any]]:
        """Return the outputs that were asked for, in that order; without any asked for all, or only the predictions if
        the request says that its codec reads no more."""
        tensors = {"predict": scores.predictions}
        if scores.probabilities is not None:
            tensors["probability"] = scores.probabilities
        names = self._outputs or (["predict"] if self.single else list(tensors))
        return [output_tensor(name, tensors[name]) for name in names]


async def infer(plane: Plane, request: HttpRequest, model: str, version: str | None = None) -> HttpResponse:
    """Answer `POST /v2/models/{model}[/versions/{version}]/infer`."""
    plane.catalog.find(model)
    if b"inference-header-content-length" in request.headers:
        raise RequestError(400, f"the body has binary tensors; {ONLY_JSON}")
    request.headers.setdefault(b"content-type", JSON.encode())  # Triton's client sends none
    payload = InferRequest(await read_json(request, plane.settings.max_body_bytes))
    answer = await plane.infer(_ask(model, version), payload, request)
    return HttpResponse(200, render(answer, payload, request.request_id))


def render(answer: Answer, payload: InferRequest, request_id: str) -> bytes:
    """Return the body of an inference response."""
    return orjson.dumps(
        {
            "model_name": answer.model.name,
            "model_version": str(answer.model.version),
            "id": request_id if payload.id is None else payload.id,
            "parameters": {"prediction_ids": answer.ids.texts()},
            "outputs": payload.outputs(answer.scores),
        }
    )


async def metadata(plane: Plane, request: HttpRequest, model: str, version: str | None = None) -> HttpResponse:
    """Answer `GET /v2/models/{model}[/versions/{version}]`."""
    served = plane.choose(_ask(model, version), request, None)
    versions = [str(other.version) for other in plane.catalog.find(model).versions()]
    return json_answer(
        {
            "name": model,
            "versions": versions,
            "platform": _PLATFORM,
            "inputs": _inputs(served),
            "outputs": [
                {key: tensor[key] for key in ("name", "datatype", "parameters")} | {"shape": [-1, tensor["shape"][1]]}
                for tensor in _example_outputs(served)
            ],
        }
    )


async def model_ready(plane: Plane, request: HttpRequest, model: str, version: str | None = None) -> HttpResponse:
    """Answer `GET /v2/models/{model}[/versions/{version}]/ready`."""
    plane.choose(_ask(model, version), request, None)
    return json_answer({"name": model, "ready": True})


async def server_metadata(_: Plane, __: HttpRequest) -> HttpResponse:
    """Answer `GET /v2`."""
    return json_answer(SERVER)


async def live(_: Plane, __: HttpRequest) -> HttpResponse:
    """Answer `GET /v2/health/live`."""
    return json_answer({"live": True})


async def ready(plane: Plane, _: HttpRequest) -> HttpResponse:
    """Answer `GET /v2/health/ready`: as ready as `/readyz`."""
    complete = plane.catalog.complete
    return json_answer({"live": True, "ready": complete}, 200 if complete else 503)


async def index(plane: Plane, request: HttpRequest) -> HttpResponse:
    """Answer `POST /v2/repository/index`, whose body `{"ready": true}` leaves out what does not serve."""
    body = await request.body(plane.settings.max_body_bytes)
    wanted = parse_json(body) if body else {}
    if type(wanted) is not dict or type(wanted.get("ready", False)) is not bool:
        raise RequestError(400, 'expected no body, or one like {"ready": true}')
    entries = repository_index(plane.catalog)
    return json_answer([entry for entry in entries if entry["state"] == "READY" or not wanted.get("ready")])


async def load(_: Plane, __: HttpRequest, model: str) -> HttpResponse:
    """Refuse `POST /v2/repository/models/{model}/load` and `…/unload`."""
    raise RequestError(
        400,
        f"models are not loaded by request: set the alias 'champion', 'canary' or 'shadow' of {model!r} in MLflow's "
        "registry on the version that is to serve, or take it away",
    )


def repository_index(catalog: Catalog) -> list[dict[str, str]]:
    """Return the versions that serve, and those that an alias points to and that do not serve."""
    found = {
        (name, served.version): {"name": name, "version": str(served.version), "state": "READY", "reason": ""}
        for name, deployment in catalog.deployments.items()
        for served in deployment.versions()
    }
    for (name, _), failure in catalog.failures.items():
        unavailable = {"name": name, "version": str(failure.version), "state": "UNAVAILABLE", "reason": failure.reason}
        found.setdefault((name, failure.version), unavailable)
    return [found[key] for key in sorted(found)]


def output_names(model: ServedModel) -> list[str]:
    """Return the outputs that a model has."""
    return [tensor["name"] for tensor in _example_outputs(model)]


def error_answer(error: RequestError) -> HttpResponse:
    """Return the answer that tells a caller about `error`: the protocol has one string for it."""
    answer = json_answer({"error": error.full_message()}, error.status)
    answer.headers = header_list(error)
    return answer


_EXAMPLE_OUTPUTS: WeakKeyDictionary[ServedModel, list[dict[str, Any]]] = WeakKeyDictionary()


def _example_outputs(model: ServedModel) -> list[dict[str, Any]]:
    """The outputs for the model's example: the one place that knows whether it has probabilities, and of which type
    its predictions are."""
    outputs = _EXAMPLE_OUTPUTS.get(model)
    if outputs is None:
        scores = model.score(model.signature.check([model.example], model.entity_key))
        tensors = {"predict": scores.predictions, "probability": scores.probabilities}
        outputs = [output_tensor(name, values) for name, values in tensors.items() if values is not None]
        _EXAMPLE_OUTPUTS[model] = outputs
    return outputs


def _inputs(model: ServedModel) -> list[dict[str, Any]]:
    fields = model.signature.fields
    if model.signature.tensor is not None:
        return [{"name": _TENSOR_NAME, "datatype": FIELD_DATATYPES[fields[0].type], "shape": [-1, len(fields)]}]
    return [
        {"name": field.name, "datatype": FIELD_DATATYPES[field.type], "shape": [-1]}
        | ({"parameters": {"content_type": "datetime"}} if field.type == "datetime" else {})
        for field in fields
    ]


def _ask(model: str, version: str | None) -> Ask:
    if version is None or version.isdecimal():
        return Ask(model, version)
    return Ask(model, alias=version)


def _identity(raw: Any) -> str | None:
    if raw is not None and (type(raw) is not str or not _is_unicode(raw)):
        raise RequestError(400, f"id: expected a string, got {show(raw)}")
    return raw


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _output_names(raw: Any) -> list[str] | None:
    if raw is None or raw == []:
        return None
    if type(raw) is not list or not all(type(one) is dict and type(one.get("name")) is str for one in raw):
        raise RequestError(400, 'outputs: expected a list of objects like {"name": "predict"}')
    return list(dict.fromkeys(one["name"] for one in raw))


def _both(method: str, path: str, scope: str | None, handler: Any) -> list[Route]:
    """The route of a model, and that of a version of it."""
    return [
        Route(method, f"/v2/models/{{model}}{version}{path}", scope, handler, error_answer)
        for version in ("", "/versions/{version}")
    ]


ROUTES = [
    *_both("POST", "/infer", "predict", infer),
    *_both("GET", "", None, metadata),
    *_both("GET", "/ready", None, model_ready),
    Route("GET", "/v2", None, server_metadata, error_answer),
    Route("GET", "/v2/", None, server_metadata, error_answer),
    Route("GET", "/v2/health/live", None, live, error_answer),
    Route("GET", "/v2/health/ready", None, ready, error_answer),
    Route("POST", "/v2/repository/index", None, index, error_answer),
    *(
        Route("POST", f"/v2/repository/models/{{model}}/{word}", None, load, error_answer)
        for word in ("load", "unload")
    ),
]
