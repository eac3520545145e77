"""The OpenAPI description and its page. The page's scripts come from this server, not from the internet."""

from collections.abc import Callable, Collection
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from serving.models.model import ServedModel

_STATIC = "/docs/static"
_PREDICT_PATH = "/models/{name}/predict"

DESCRIPTION = """
Predictions of the models that MLflow's registry calls `champion`.

Every call needs an API key: `Authorization: Bearer KEY` (in a browser: any user name, the key as password).
`GET /models` lists what is served, with each model's fields and an example request. Every prediction is stored
under its `prediction_id`. Errors are `{"error": "what is wrong, where, what was expected"}`.
"""


class Detail(BaseModel):
    """One finding in the records."""

    row: int = Field(description="Index of the record in the request, from 0.")
    field: str | None = Field(description="The field; null if the record itself is wrong.")
    expected: str
    got: str


class ErrorAnswer(BaseModel):
    """Why a request was not answered."""

    error: str
    details: list[Detail] | None = Field(None, description="With 422: the first 20 findings.")


class Prediction(BaseModel):
    """The answer to one record; the answers stand in the order of the records."""

    prediction_id: str = Field(description="UUID under which the prediction is stored.")
    prediction: Any = Field(description="The predicted class, or number.")
    probability: float | None = Field(
        description="Of the positive class (with more than two classes: of the predicted one); null for a regressor."
    )


class PredictAnswer(BaseModel):
    """Predictions, and the version that made all of them."""

    model: str
    version: int
    alias: str
    predictions: list[Prediction]


class ModelInput(BaseModel):
    """One field of a record."""

    name: str
    type: str = Field(description="MLflow's column type: string, boolean, integer, long, float, double, datetime.")
    required: bool = Field(description="If false the field may be null or left out.")


class ServedModelAnswer(BaseModel):
    """A version that serves."""

    name: str
    version: int
    alias: str
    run_id: str
    serving_since: str
    entity_key: str | None = Field(description="Field of a record that says what it is about; stored, not an input.")
    classes: list[Any] | None = Field(description="Classes of a classifier; null for a regressor.")
    inputs: list[ModelInput]
    example: dict[str, Any] = Field(description="A request body for this model.")


class NotServed(BaseModel):
    """A version that an alias points to and that cannot serve."""

    name: str
    version: int
    reason: str


class ModelsAnswer(BaseModel):
    """What is served, and what should be."""

    models: list[ServedModelAnswer]
    not_served: list[NotServed]


def _error(description: str) -> dict[str, Any]:
    return {"model": ErrorAnswer, "description": description}


PREDICT: dict[str, Any] = {
    "summary": "Predict records",
    "description": (
        "Each record has the model's fields (see `GET /models`) and may have its entity key. A field that is not "
        "required may be null or left out; integers and numbers are JSON numbers, a datetime is an ISO 8601 string "
        "(one with an offset is converted to UTC)."
    ),
    "responses": {
        200: {"model": PredictAnswer, "description": "The predictions, in the order of the records."},
        400: _error("Not JSON, or not of the shape of the example."),
        401: _error("No valid API key."),
        404: _error("No such model; the message lists those that are served."),
        413: _error("The body is too large."),
        415: _error("Not `application/json`."),
        422: _error("A record does not fit the model's signature: row, field and what was expected."),
        500: _error("The model failed on good records."),
        503: _error("The model has no version that can serve; the message says why and what to do."),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "required": ["records"],
                        "additionalProperties": False,
                        "properties": {"records": {"type": "array", "minItems": 1, "items": {"type": "object"}}},
                    }
                }
            },
        }
    },
}

MODELS: dict[str, Any] = {"summary": "What is served", "responses": {200: {"model": ModelsAnswer}}}


def add_docs(app: FastAPI, served: Callable[[], Collection[ServedModel]]) -> None:
    """Add /docs and /openapi.json, with an example for each model that `served` returns at that moment."""
    app.mount(_STATIC, StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-static")

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return _openapi(app, served())

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=app.title,
            swagger_js_url=f"{root}{_STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_STATIC}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_STATIC}/favicon.png",
        )


def _openapi(app: FastAPI, served: Collection[ServedModel]) -> dict[str, Any]:
    schema = get_openapi(title=app.title, version="1", description=app.description, routes=app.routes)
    schema["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"key": []}]
    for path in ("/healthz", "/readyz"):
        schema["paths"][path]["get"]["security"] = []
    examples = {model.name: {"value": {"records": [dict(model.example)]}} for model in served}
    if examples:
        predict = schema["paths"][_PREDICT_PATH]["post"]
        predict["requestBody"]["content"]["application/json"]["examples"] = examples
        predict["parameters"][0]["examples"] = {name: {"value": name} for name in examples}
    return schema
