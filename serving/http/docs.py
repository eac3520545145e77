"""The OpenAPI description and its page. The page's scripts come from this server, not from the internet."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles

from serving.http.openapi import parts, server
from serving.http.openapi.models import ModelCalls
from serving.http.wire import JSON
from serving.models.catalog import Catalog

_STATIC = "/docs/static"
_VERSION = "1"

DESCRIPTION = """
Predictions of the models in MLflow's registry: of each the version that the alias `champion` points to, and beside it
those of `canary` and `shadow`.

Every call needs an API key: `Authorization: Bearer KEY` (in a browser: any user name, the key as password).
Each model has its own calls below, with its fields and an example that works. Every prediction is stored under its
`prediction_id`. Errors are `{"error": "what is wrong, where, what was expected"}`; every answer has an `X-Request-Id`.
"""


class ModelInput(BaseModel):
    """One field of a record."""

    name: str
    type: str = Field(description="MLflow's column type: string, boolean, integer, long, float, double, datetime.")
    required: bool = Field(description="If false the field may be null or left out.")


class Version(BaseModel):
    """A version that serves."""

    version: int
    role: str = Field(description="champion, canary or shadow.")
    run_id: str
    serving_since: str
    computed_by: str = Field(
        description="predict: by the model's own predict; else by a faster way of the same answers."
    )
    entity_key: str | None = Field(description="Field of a record that says what it is about; stored, not an input.")
    classes: list[Any] | None = Field(description="Classes of a classifier; null for a regressor.")
    inputs: list[ModelInput]
    example: dict[str, Any] = Field(description="A body for this model's predict.")


class Served(BaseModel):
    """A model and its versions, the champion first."""

    name: str
    versions: list[Version]
    canary_share: float | None = Field(None, description="Part of the traffic that the canary gets, 0 to 1.")


class NotServed(BaseModel):
    """A version that an alias points to and that cannot serve."""

    name: str
    role: str
    version: int
    reason: str


class ModelsAnswer(BaseModel):
    """What is served, and what should be."""

    models: list[Served]
    not_served: list[NotServed]


MODELS: dict[str, Any] = {"summary": "What is served", "responses": {200: {"model": ModelsAnswer}}}
"""How FastAPI is to describe `/models`."""


def add_docs(app: FastAPI, catalog: Callable[[], Catalog]) -> None:
    """Add /docs and /openapi.json, which tell the calls of each model that `catalog` has at that moment."""
    app.mount(_STATIC, StaticFiles(directory=str(files("fastapi_offline") / "static")), name="docs-static")
    made: tuple[Catalog | None, bytes] = None, b""

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        nonlocal made
        now = catalog()
        if made[0] is not now:
            made = now, orjson.dumps(describe(app.title, app.description, app.routes, now))
        return Response(made[1], media_type=JSON)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=app.title,
            swagger_js_url=f"{root}{_STATIC}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{_STATIC}/swagger-ui.css",
            swagger_favicon_url=f"{root}{_STATIC}/favicon.png",
            swagger_ui_parameters={"tryItOutEnabled": True, "persistAuthorization": True},
        )


def describe(title: str, description: str, control: list[BaseRoute], catalog: Catalog) -> dict[str, Any]:
    """Return the OpenAPI document: the pages of the control plane as FastAPI knows them, and the data plane's calls."""
    document = get_openapi(title=title, version=_VERSION, description=description, routes=control)
    paths, components = document["paths"], document.setdefault("components", {})
    for operations in paths.values():
        for operation in operations.values():
            _complete(operation)
    components.get("schemas", {}).pop("HTTPValidationError", None)
    components.get("schemas", {}).pop("ValidationError", None)
    names = sorted(catalog.deployments)
    calls = [ModelCalls(name, catalog.deployments[name], number) for number, name in enumerate(names, start=1)]
    everything: dict[str, Any] = {}
    for call in calls:
        everything |= call.paths()
    document["paths"] = everything | paths | server.paths(names)
    for name, common in parts.components().items():
        components[name] = components.get(name, {}) | common
    components["schemas"] |= server.schemas()
    for call in calls:
        components["schemas"] |= call.schemas()
    document["security"] = parts.SECURITY
    return document


def _complete(operation: parts.Operation) -> None:
    """Add what every call may answer to one that FastAPI described, and take away what none does."""
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for response in responses.values():
        response["headers"] = parts.REQUEST_ID
    for status in parts.GATE_ERRORS:
        responses.setdefault(str(status), parts.error(status))
