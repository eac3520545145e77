"""MLflow's scoring protocol, as `mlflow models serve` speaks it, below the address of each model.

Protocol: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally#inference-server-specification, and what
`mlflow.pyfunc.scoring_server` accepts beyond it. Where that only warns of columns that the model does not know, this
server refuses them, as in its other protocols. NaN, which Python's json writes, is a missing value.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from typing import Any

import orjson

from serving.errors import RequestError, show
from serving.http.body import check_content, parse_json
from serving.http.routes import Route, header_list
from serving.http.wire import JSON, HttpRequest, HttpResponse, json_answer
from serving.models.model import ServedModel
from serving.models.signature import Rows
from serving.plane.plane import Answer, Ask, Payload, Plane
from serving.protocols.mlflow_scoring_csv import CsvTable, repeated
from serving.protocols.records import Records

CSV = "text/csv"
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_ERROR_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    422: "INVALID_PARAMETER_VALUE",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
}
"""MLflow's names by status; any other is a BAD_REQUEST."""


class Columns:
    """A body of named columns of one length."""

    __slots__ = ("_columns", "_count")

    def __init__(self, columns: dict[str, Sequence[Any]], count: int) -> None:
        """Take columns of `count` values each."""
        self._columns = columns
        self._count = count

    def routing_key(self, entity_key: str | None) -> str | None:
        """See `Payload.routing_key`."""
        values = self._columns.get(entity_key) if entity_key is not None else None
        return None if not values or values[0] is None else str(values[0])

    def rows(self, model: ServedModel) -> Rows:
        """See `Payload.rows`."""
        return model.signature.check_columns(self._columns, self._count, model.entity_key)


class Matrix:
    """A body of rows without names: their values are the model's fields in order."""

    __slots__ = ("_rows", "_where")

    def __init__(self, where: str, rows: list[list[Any]]) -> None:
        """Take rows; `where` is the key they came under."""
        self._where = where
        self._rows = rows

    def routing_key(self, _: str | None) -> str | None:
        """See `Payload.routing_key`: nothing in it has a name."""
        return None

    def rows(self, model: ServedModel) -> Rows:
        """See `Payload.rows`.

        Raises:
            RequestError: also 400, a row has not one value for each field.
        """
        names = [field.name for field in model.signature.fields]
        columns = transpose(self._where, names, self._rows)
        return model.signature.check_columns(columns, len(self._rows), model.entity_key)


async def invocations(plane: Plane, request: HttpRequest, model: str, version: str | None = None) -> HttpResponse:
    """Answer `POST /models/{model}[/versions/{version}]/invocations`."""
    plane.catalog.find(model)
    media_type = _media_type(request)
    body = await request.body(plane.settings.max_body_bytes)
    payload = CsvTable(body) if media_type == CSV else parse_invocation(parse_json(body, nan_is_null=True))
    return render(await plane.infer(_ask(request, model, version), payload, request))


def render(answer: Answer) -> HttpResponse:
    """Return the answer as MLflow gives it. What MLflow has no place for is in headers: the version, and the id of the
    first row's prediction; those of the others have the row number for its last five digits (see `serving.ids`)."""
    headers = [
        (b"x-model-version", str(answer.model.version).encode()),
        (b"x-prediction-id", answer.ids.base.encode()),
    ]
    return HttpResponse(200, orjson.dumps({"predictions": answer.scores.predictions}), headers=headers)


def parse_invocation(content: Any) -> Payload:
    """Return a JSON body as a payload. As with MLflow, keys beside the form's are ignored; `params` are for models that
    declare some, and none that is served here does.

    Raises:
        RequestError: 400, it is none of MLflow's forms.
    """
    expected = f"a JSON object with exactly one of the keys {', '.join(_FORMS)}"
    if type(content) is not dict:
        raise RequestError(400, f"expected {expected}, got {show(content)}")
    given = [form for form in _FORMS if form in content]
    if len(given) != 1:
        keys = ", ".join(map(show, list(content)[:10])) or "none"
        raise RequestError(400, f"expected {expected}, got the keys: {keys}")
    return _PARSERS[given[0]](given[0], content[given[0]])


def transpose(where: str, names: Sequence[str], rows: list[Any]) -> dict[str, Sequence[Any]]:
    """Return rows of values as columns.

    Raises:
        RequestError: 400, a row has not one value for each name.
    """
    for row, values in enumerate(rows):
        if type(values) is not list or len(values) != len(names):
            got = f"a list of {len(values)}" if type(values) is list else show(values)
            raise RequestError(400, f"row {row} of {where}: expected a list of {len(names)} values, got {got}")
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def _split(form: str, content: Any) -> Payload:
    if type(content) is not dict or not {"data"} <= content.keys() <= {"data", "columns", "index"}:
        raise RequestError(400, f'{form}: expected {{"columns": [...], "data": [[...], ...]}}, got {_shown(content)}')
    rows = _some(f"{form}.data", content["data"])
    index = content.get("index")
    if index is not None and (type(index) is not list or len(index) != len(rows)):
        raise RequestError(400, f"{form}.index: expected a list of {len(rows)}, one for each row of data")
    names = _column_names(f"{form}.columns", content.get("columns"), rows)
    return Columns(transpose(f"{form}.data", names, rows), len(rows))


def _column_names(where: str, names: Any, rows: list[Any]) -> list[str]:
    """The names of a split frame's columns; a frame without names has numbers."""
    if names is None:
        return [str(number) for number in range(len(rows[0]) if type(rows[0]) is list else 0)]
    if type(names) is not list or not all(type(name) in (str, int) for name in names):
        raise RequestError(400, f"{where}: expected a list of names")
    texts = [str(name) for name in names]
    twice = repeated(texts)
    if twice is not None:
        raise RequestError(400, f"{where}: {show(twice)} is there twice")
    return texts


def _records(form: str, content: Any) -> Payload:
    rows = _some(form, content)
    return Matrix(form, rows) if type(rows[0]) is list else Records(rows)


def _tensors(form: str, content: Any) -> Payload:
    if type(content) is dict:
        return _named(form, content)
    rows = _some(form, content)
    if type(rows[0]) is dict:
        return Records(rows)
    # what is no list is the value of a model's only field
    return Matrix(form, rows if type(rows[0]) is list else [[value] for value in rows])


def _named(form: str, content: dict[str, Any]) -> Payload:
    """Columns by name, or one record."""
    lengths = {name: len(values) for name, values in content.items() if type(values) is list}
    if not lengths and content:
        return Records([content])
    count = next(iter(lengths.values()), 0)
    for name, values in content.items():
        if lengths.get(name) != count or not count:
            got = f"a list of {len(values)}" if type(values) is list else show(values)
            expected = f"a list of {count} values as the other columns have" if count else "at least one value"
            raise RequestError(400, f"{form}, column {show(name)}: expected {expected}, got {got}")
    if not count:
        raise RequestError(400, f"{form}: expected at least one column, got an empty object")
    return Columns(content, count)


def _some(where: str, content: Any) -> list[Any]:
    if type(content) is not list or not content:
        raise RequestError(400, f"{where}: expected a list of at least one row, got {_shown(content)}")
    return content


def _shown(content: Any) -> str:
    return "an empty list" if content == [] else show(content)


_PARSERS: dict[str, Callable[[str, Any], Payload]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _tensors,
    "inputs": _tensors,
}


async def ping(plane: Plane, request: HttpRequest, model: str, version: str | None = None) -> HttpResponse:
    """Answer `GET …/ping` and `GET …/health`."""
    plane.choose(_ask(request, model, version), request, None)
    return HttpResponse(200, b"\n")


async def mlflow_version(plane: Plane, request: HttpRequest, model: str, version: str | None = None) -> HttpResponse:
    """Answer `GET …/version`: the version of MLflow."""
    plane.choose(_ask(request, model, version), request, None)
    return HttpResponse(200, _installed().encode())


@cache
def _installed() -> str:
    return metadata.version("mlflow-skinny")


def error_answer(error: RequestError) -> HttpResponse:
    """Return the answer that tells a caller about `error`, in MLflow's shape."""
    code = _ERROR_CODES.get(error.status, "BAD_REQUEST")
    answer = json_answer({"error_code": code, "message": error.full_message()}, error.status)
    answer.headers = header_list(error)
    return answer


def _media_type(request: HttpRequest) -> str:
    media_type = check_content(request, (JSON, CSV))
    for parameter in request.header("content-type").split(";")[1:]:
        name, _, value = parameter.strip().partition("=")
        if name.lower() == "charset" and value.strip('"').lower() != "utf-8":
            raise RequestError(415, f"expected the charset utf-8, got {show(value)}")
        if name and name.lower() != "charset":
            raise RequestError(415, f"unknown parameter {show(name)} of the Content-Type; only charset=utf-8 is known")
    return media_type


def _ask(request: HttpRequest, model: str, version: str | None) -> Ask:
    if version is None:
        return Ask(model, request.parameter("version"), request.parameter("alias"))
    return Ask(model, version) if version.isdecimal() else Ask(model, alias=version)


def _both(method: str, path: str, scope: str | None, handler: Any) -> list[Route]:
    """The route of a model, and that of a version of it."""
    return [
        Route(method, f"/models/{{model}}{version}/{path}", scope, handler, error_answer)
        for version in ("", "/versions/{version}")
    ]


ROUTES = [
    *_both("POST", "invocations", "predict", invocations),
    *_both("GET", "ping", None, ping),
    *_both("GET", "health", None, ping),
    *_both("GET", "version", None, mlflow_version),
]
