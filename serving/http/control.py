"""The pages around the data plane: what is served, health, metrics, keys, the registry's webhook, documentation."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.routing import Match

from serving.errors import RequestError
from serving.http import docs
from serving.http.gate import unexpected_error
from serving.http.routes import plain_error
from serving.http.wire import HttpResponse, json_answer
from serving.keys.http import keys_router
from serving.keys.keyring import Keyring
from serving.metrics import Metrics
from serving.models.catalog import Catalog, Deployment
from serving.models.follower import Follower
from serving.models.webhook import is_news, verify

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_WEBHOOK_BYTES = 1 << 20

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Figures = Callable[[], bytes]


def control_app(
    follower: Follower, metrics: Metrics, keyring: Keyring, *, more_figures: Figures, secret: str, lifespan: Lifespan
) -> FastAPI:
    """Return the control plane.

    Args:
        follower: knows what is served; woken by the webhook.
        metrics: of this server.
        keyring: the keys.
        more_figures: series of processes that have no page of their own, in Prometheus' text format.
        secret: the webhook's.
        lifespan: what runs for as long as the application does.
    """
    app = FastAPI(
        title="Model server",
        description=docs.DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_exception_handler(404, _no_such_page)
    app.add_exception_handler(405, _wrong_method)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(Exception, _failed)
    docs.add_docs(app, lambda: follower.catalog)
    app.include_router(keys_router(keyring))

    @app.get("/models", tags=["models"], **docs.MODELS)
    async def models() -> Response:
        return _response(json_answer(describe(follower.catalog)))

    @app.post("/webhooks/mlflow", tags=["operation"], summary="MLflow says that an alias moved; needs its signature")
    async def webhook(request: Request) -> Response:
        body = b"".join([chunk async for chunk in _bounded(request)])
        verify(request.headers, body, secret)
        if is_news(body):
            follower.wake()
        return Response(status_code=204)

    @app.get("/metrics", tags=["operation"], summary="Metrics in Prometheus' text format")
    async def exposition() -> Response:
        return Response(metrics.exposition() + more_figures(), media_type=_METRICS_TYPE)

    @app.get("/healthz", tags=["operation"], summary="Whether the process answers; needs no key")
    async def healthz() -> Response:
        return _response(json_answer({"alive": True}))

    @app.get("/readyz", tags=["operation"], summary="Whether the registry was read at least once; needs no key")
    async def readyz() -> Response:
        ready = follower.catalog.complete
        reason = {} if ready else {"reason": "the registry has not been read yet"}
        return _response(json_answer({"ready": ready} | reason, 200 if ready else 503))

    return app


def describe(catalog: Catalog) -> dict[str, Any]:
    """Return what `/models` says."""
    return {
        "models": [_deployment(name, catalog.deployments[name]) for name in sorted(catalog.deployments)],
        "not_served": [
            {"name": name, "role": role, "version": failure.version, "reason": failure.reason}
            for (name, role), failure in sorted(catalog.failures.items())
        ],
    }


def scope_of(path: str) -> str | None:
    """Return what a caller's key has to allow for a page of the control plane; None for any key."""
    if path == "/keys" or path.startswith("/keys/"):
        return "admin"
    return "metrics" if path == "/metrics" else None


def _deployment(name: str, deployment: Deployment) -> dict[str, Any]:
    share = {"canary_share": deployment.canary_share} if deployment.canary else {}
    return {"name": name, "versions": [model.describe() for model in deployment.versions()]} | share


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_WEBHOOK_BYTES:
            raise RequestError(413, f"the body is larger than {_MAX_WEBHOOK_BYTES} bytes")
        yield chunk


def _response(answer: HttpResponse) -> Response:
    assert isinstance(answer.body, bytes)  # noqa: S101 - the control plane streams nothing
    response = Response(answer.body, status_code=answer.status, media_type=answer.content_type)
    response.headers.update({name.decode(): value.decode() for name, value in answer.headers})
    return response


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)  # noqa: S101 - FastAPI hands over what it was registered for
    return _response(plain_error(error))


async def _no_such_page(request: Request, _: Exception) -> Response:
    return await _refused(request, RequestError(404, f"no page {request.url.path}; /docs shows what there is"))


async def _wrong_method(request: Request, _: Exception) -> Response:
    routes = [route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE]
    allowed = ", ".join(sorted(method for route in routes for method in getattr(route, "methods", None) or ()))
    message = f"{request.method} is not allowed on {request.url.path}; allowed: {allowed}"
    return await _refused(request, RequestError(405, message, headers={"Allow": allowed}))


async def _failed(request: Request, _: Exception) -> Response:
    # Starlette raises the error again after this; the gate logs it.
    return await _refused(request, unexpected_error(request.state.request_id))
