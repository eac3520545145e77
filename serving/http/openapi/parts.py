"""What the calls of the OpenAPI document have in common: errors, security, ways to write an operation."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from serving.http.wire import JSON
from serving.models.findings import MAX_DETAILS

Schema = dict[str, Any]
Operation = dict[str, Any]

_ERRORS: Mapping[int, str] = {
    400: "The body is not what it should be; the message says what was expected.",
    401: "No valid API key.",
    403: "The key lacks the scope that this call needs.",
    404: "There is no such model, version or alias; the message lists what is served.",
    406: "The answer cannot be given in a format of the `Accept` header.",
    409: "It is there already, or belongs to the platform.",
    413: "The body is too large.",
    415: "The body has another content type than this call takes; the message lists them.",
    422: "A value is wrong: row, field and what was expected.",
    429: "The key sends more requests a second than it may.",
    500: "The model failed on good data; the server's log says why.",
    503: "Nothing is ready to answer; the message says why and what to do.",
}
_WITH_RETRY = (429, 503)
REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
"""Headers of every answer."""
GATE_ERRORS = (401, 403, 429)
"""What any call may be answered with that needs a key."""
SECURITY: list[dict[str, list[str]]] = [{"key": []}, {"password": []}]


def reference(name: str) -> Schema:
    """Return a reference to a component's schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def components() -> dict[str, Any]:
    """Return the components that all documents have."""
    return {
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
            "password": {"type": "http", "scheme": "basic", "description": "Any user name, an API key as password."},
        },
        "headers": {
            "RequestId": {
                "description": "The request's id in the server's logs: the one that was sent as `X-Request-Id`, "
                "or a new one.",
                "schema": {"type": "string"},
            }
        },
        "responses": {_name(status): _error(status, reference("Error")) for status in _ERRORS}
        | {f"MLflow{_name(status)}": _error(status, reference("MLflowError")) for status in _ERRORS},
        "schemas": {"Error": _ERROR, "MLflowError": _MLFLOW_ERROR},
    }


def operation(
    summary: str,
    tag: str,
    identity: str,
    answers: Mapping[int, Any],
    errors: Sequence[int] = (),
    *,
    description: str = "",
    body: Mapping[str, Any] | None = None,
    body_required: bool = True,
    parameters: Sequence[Any] = (),
    shape: str = "",
    public: bool = False,
) -> Operation:
    """Return an operation.

    Args:
        summary: one line.
        tag: the group that it stands in.
        identity: its operationId, unique in the document.
        answers: by status, those that are no errors; see `answer`.
        errors: statuses of its errors, besides those that the gate gives.
        description: more, in Markdown.
        body: content of the request's body by media type.
        body_required: whether there has to be one.
        parameters: of path and query.
        shape: `MLflow` for errors in MLflow's shape.
        public: whether it needs no key.
    """
    refusals = {status: error(status, shape) for status in errors}
    if not public:
        refusals |= {status: error(status) for status in GATE_ERRORS}
    if 500 in errors and shape:
        refusals[500] = _error(500, {"anyOf": [reference("MLflowError"), reference("Error")]})
    made: Operation = {"summary": summary, "tags": [tag], "operationId": identity}
    if description:
        made["description"] = description
    if parameters:
        made["parameters"] = list(parameters)
    if body is not None:
        made["requestBody"] = {"required": body_required, "content": dict(body)}
    made["responses"] = {str(status): answer for status, answer in sorted({**answers, **refusals}.items())}
    if public:
        made["security"] = []
    return made


def answer(description: str, schema: Schema | None, *, media_type: str = JSON, **more: Any) -> dict[str, Any]:
    """Return a response with `schema`; None for one without a body. `more` goes beside the schema: examples."""
    content = {} if schema is None else {"content": {media_type: {"schema": schema, **more}}}
    return {"description": description, "headers": REQUEST_ID, **content}


def error(status: int, shape: str = "") -> Schema:
    """Return a reference to the response for an error; `shape` as for `operation`."""
    return {"$ref": f"#/components/responses/{shape}{_name(status)}"}


def record(properties: Mapping[str, Schema], required: Sequence[str] | None = None, **more: Any) -> Schema:
    """Return the schema of an object; all properties are required unless told otherwise."""
    names = list(properties if required is None else required)
    return {"type": "object", "properties": dict(properties)} | ({"required": names} if names else {}) | more


def listed(items: Schema, **more: Any) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items, **more}


def query(name: str, schema: Schema, description: str) -> dict[str, Any]:
    """Return an optional parameter of the query."""
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def in_path(name: str, schema: Schema, description: str) -> dict[str, Any]:
    """Return a parameter of the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": description}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}

_DETAIL = record(
    {
        "row": {"type": ["integer", "null"], "description": "From 0; null for what is wrong with a field as a whole."},
        "field": {"type": ["string", "null"], "description": "Null if the record itself is wrong."},
        "expected": TEXT,
        "got": TEXT,
    }
)
_ERROR = record(
    {
        "error": {"type": "string", "description": "What is wrong, where, and what was expected."},
        "details": listed(_DETAIL, description=f"With 422: the first {MAX_DETAILS} findings."),
    },
    ["error"],
)
_MLFLOW_ERROR = record({"error_code": TEXT, "message": TEXT})


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.replace(" ", "")


def _error(status: int, schema: Schema) -> dict[str, Any]:
    headers: dict[str, Any] = dict(REQUEST_ID)
    if status in _WITH_RETRY:
        headers["Retry-After"] = {"description": "Seconds to wait, if waiting helps.", "schema": WHOLE}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = {"schema": TEXT}
    return {"description": _ERRORS[status], "headers": headers, "content": {JSON: {"schema": schema}}}
