"""The HTTP side of the model server."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response

from serving.http import docs
from serving.http.auth import Authentication, Keys
from serving.http.body import read_records
from serving.errors import RequestError
from serving.models.follower import Follower
from serving.metrics import Metrics
from serving.models.model import PredictionFailed, ServedModel
from serving.predictions import PredictionBatch
from serving.settings import Settings
from serving.store import PredictionStore

log = logging.getLogger(__name__)

_STOP_SECONDS = 10.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Server:
    """The parts of a running server, and the way of a request through them."""

    def __init__(self, settings: Settings, follower: Follower, store: PredictionStore, metrics: Metrics) -> None:
        """Put the parts together; nothing runs before `running`."""
        self.settings = settings
        self.follower = follower
        self.store = store
        self.metrics = metrics
        # More threads than cores only make predictions wait for each other.
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="predict")

    @asynccontextmanager
    async def running(self, _: FastAPI) -> AsyncIterator[None]:
        """Follow the registry and write predictions for as long as the application runs."""
        stop = threading.Event()
        follower = threading.Thread(
            target=self.follower.run, args=(stop, self.settings.poll_seconds), name="follower", daemon=True
        )
        self.store.start()
        follower.start()
        yield
        stop.set()
        self._threads.shutdown()
        await asyncio.to_thread(self.store.stop, _STOP_SECONDS)

    async def predict(self, name: str, request: Request) -> Response:
        """Answer a prediction request, whatever comes of it, and count it."""
        started = time.perf_counter()
        model: ServedModel | None = None
        status = 500
        try:
            model = self.follower.catalog.find(name)
            records = await read_records(request, self.settings.max_body_bytes)
            batch = await self._score(model, records, request.state.caller, started)
            response = json_response(_answer(batch))
            status = 200
        except RequestError as exc:
            response = error_response(exc)
            status = exc.status
        finally:
            self.metrics.answered(model, status, time.perf_counter() - started)
        return response

    async def _score(self, model: ServedModel, records: list[Any], caller: str, started: float) -> PredictionBatch:
        loop = asyncio.get_running_loop()
        try:
            outcome = await loop.run_in_executor(self._threads, model.score, records)
        except PredictionFailed as exc:
            log.error("%s: version %d failed to predict: %s", model.name, model.version, exc, exc_info=exc)
            raise RequestError(
                500, f"version {model.version} of {model.name!r} failed on these records; the server's log says why"
            ) from exc
        batch = PredictionBatch(model, outcome, caller, (time.perf_counter() - started) * 1000)
        self.metrics.predicted(model, outcome)
        await self.store.write(batch)
        return batch


def create_app(server: Server) -> FastAPI:
    """Return the ASGI application."""
    app = FastAPI(
        title="Model server",
        description=docs.DESCRIPTION,
        lifespan=server.running,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_middleware(Authentication, keys=Keys(server.settings.api_keys))
    app.add_exception_handler(404, _no_such_page)
    app.add_exception_handler(405, _wrong_method)
    app.add_exception_handler(Exception, _unexpected_error)

    def served() -> Collection[ServedModel]:
        return server.follower.catalog.served.values()

    docs.add_docs(app, served)

    @app.post("/models/{name}/predict", tags=["predict"], **docs.PREDICT)
    async def predict(name: str, request: Request) -> Response:
        return await server.predict(name, request)

    @app.get("/models", tags=["models"], **docs.MODELS)
    async def models() -> Response:
        catalog = server.follower.catalog
        return json_response(
            {
                "models": [catalog.served[name].describe() for name in sorted(catalog.served)],
                "not_served": [
                    {"name": name, "version": failure.version, "reason": failure.reason}
                    for name, failure in sorted(catalog.failures.items())
                ],
            }
        )

    @app.get("/metrics", tags=["operation"], summary="Metrics in Prometheus' text format")
    async def metrics() -> Response:
        return Response(server.metrics.exposition(), media_type=_METRICS_TYPE)

    @app.get("/healthz", tags=["operation"], summary="Whether the process answers; needs no key")
    async def healthz() -> Response:
        return json_response({"alive": True})

    @app.get("/readyz", tags=["operation"], summary="Whether the registry was read at least once; needs no key")
    async def readyz() -> Response:
        ready = server.follower.catalog.complete
        reason = {} if ready else {"reason": "the registry has not been read yet"}
        return json_response({"ready": ready} | reason, 200 if ready else 503)

    return app


def json_response(content: Any, status: int = 200) -> Response:
    """Return `content` as a JSON answer."""
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")


def error_response(error: RequestError) -> Response:
    """Return the answer that tells a caller about `error`."""
    response = json_response(error.body(), error.status)
    response.headers.update(error.headers)
    return response


def _answer(batch: PredictionBatch) -> dict[str, Any]:
    model, outcome = batch.model, batch.outcome
    probabilities: Sequence[float | None] = outcome.probabilities or [None] * outcome.rows.count
    return {
        "model": model.name,
        "version": model.version,
        "alias": model.alias,
        "predictions": [
            {"prediction_id": identity, "prediction": prediction, "probability": probability}
            for identity, prediction, probability in zip(batch.ids, outcome.predictions, probabilities, strict=True)
        ],
    }


async def _no_such_page(request: Request, _: Exception) -> Response:
    return error_response(RequestError(404, f"no page {request.url.path}; /docs shows what there is"))


async def _wrong_method(request: Request, _: Exception) -> Response:
    message = f"{request.method} is not allowed on {request.url.path}; /docs shows what is"
    return error_response(RequestError(405, message))


async def _unexpected_error(_: Request, __: Exception) -> Response:
    return json_response({"error": "an error of the model server; its log says which"}, 500)
