"""The one data plane behind every protocol: choose a version, score, write down, count."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from serving.errors import RequestError
from serving.http.wire import HttpRequest
from serving.ids import MAX_ROWS, PredictionIds
from serving.journal.journal import Journal
from serving.metrics import Metrics, VersionMetrics
from serving.models.catalog import Catalog, Deployment
from serving.models.follower import Follower
from serving.models.model import PredictionFailed, Scores, ServedModel
from serving.models.signature import Rows
from serving.plane.batcher import Batcher
from serving.plane.routing import in_share
from serving.settings import Settings

log = logging.getLogger(__name__)

_ROUTING_KEY = b"x-routing-key"


class Payload(Protocol):
    """A parsed body that is not checked against a signature yet."""

    def routing_key(self, entity_key: str | None) -> str | None:
        """Return the text of the first record's entity key, or None; it need not be valid."""

    def rows(self, model: ServedModel) -> Rows:
        """Return the body as rows of `model`.

        Raises:
            RequestError: it does not fit the model's signature.
        """


@dataclass(frozen=True, slots=True)
class Ask:
    """Which model a caller wants, and perhaps which version of it: by number or by alias, as the caller wrote it."""

    model: str
    version: str | None = None
    alias: str | None = None


@dataclass(slots=True)
class Answer:
    """What was predicted, by which version, under which ids."""

    model: ServedModel
    rows: Rows
    scores: Scores
    ids: PredictionIds


@dataclass(frozen=True, slots=True)
class _Lane:
    """What a version needs to be used: its queue and its series."""

    batcher: Batcher
    metrics: VersionMetrics


class Plane:
    """Answers requests of every protocol with what the catalog serves."""

    def __init__(self, settings: Settings, follower: Follower, journal: Journal, metrics: Metrics) -> None:
        """Put the parts together."""
        self.settings = settings
        self._follower = follower
        self.journal = journal
        self.metrics = metrics
        # more threads than cores only make predictions wait for each other
        self._parallel = settings.threads or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self._parallel, thread_name_prefix="predict")
        self._lanes: WeakKeyDictionary[ServedModel, _Lane] = WeakKeyDictionary()

    @property
    def catalog(self) -> Catalog:
        """What is served now."""
        return self._follower.catalog

    def close(self) -> None:
        """Wait for the predictions that run."""
        self._threads.shutdown()

    def choose(self, ask: Ask, request: HttpRequest, payload: Payload | None) -> ServedModel:
        """Return the version that answers: the one that was named, else the canary for its share, else the champion.

        Raises:
            RequestError: 404 for a model, version or alias that is not served, 503 for a model that is not ready.
        """
        deployment = self.catalog.find(ask.model)
        if ask.version is not None or ask.alias is not None:
            return deployment.named(ask.version, ask.alias)
        champion = _champion(deployment, ask.model)
        canary = deployment.canary
        if canary is not None and deployment.canary_share > 0:
            key = _routing_key(champion, request, payload)
            if in_share(ask.model, canary.version, key, deployment.canary_share):
                return canary
        return champion

    async def infer(self, ask: Ask, payload: Payload, request: HttpRequest) -> Answer:
        """Choose a version and predict a whole body with it. What a canary was not asked for by name and fails on,
        the champion answers.

        Raises:
            RequestError: the request is wrong, nothing is ready, or the version failed (500).
        """
        model = self.choose(ask, request, payload)
        named = ask.version is not None or ask.alias is not None
        try:
            return await self._scored(model, payload, request)
        except RequestError as error:
            if model.role != "canary" or named or error.status < 500:
                raise
        return await self._scored(_champion(self.catalog.find(ask.model), ask.model), payload, request)

    async def _scored(self, model: ServedModel, payload: Payload, request: HttpRequest) -> Answer:
        request.model = model
        lane = self._lane(model)
        try:
            answer = await self.score(model, payload.rows(model), request)
        except RequestError as error:
            lane.metrics.failed(error.status, time.perf_counter() - request.started)
            raise
        lane.metrics.answered()
        _afterwards(lane.metrics.lasted, time.perf_counter() - request.started)
        return answer

    async def score(self, model: ServedModel, rows: Rows, request: HttpRequest) -> Answer:
        """Predict rows that fit the model's signature, write them down and count them.

        Raises:
            RequestError: 500, the version failed on them; 503, too much waits or nothing can be written down;
                413, more rows than one answer may have.
        """
        if rows.count > MAX_ROWS:
            raise RequestError(413, f"{rows.count} rows in one request; send at most {MAX_ROWS}, or use the batch call")
        lane = self._lane(model)
        try:
            scores = await lane.batcher.score(model.engine.encode(rows), rows.count)
        except PredictionFailed as exc:
            log.error("%s: version %d failed to predict: %s", model.name, model.version, exc, exc_info=exc)
            raise RequestError(
                500, f"version {model.version} of {model.name!r} failed on these records; the server's log says why"
            ) from exc
        answer = Answer(model, rows, scores, PredictionIds.drawn(rows.count))
        self.journal.predictions(answer, request, (time.perf_counter() - request.started) * 1000)
        if self.journal.strict:
            await self.journal.durable()
        _afterwards(lane.metrics.predicted, rows, scores)
        return answer

    def _lane(self, model: ServedModel) -> _Lane:
        lane = self._lanes.get(model)
        if lane is None:
            metrics = self.metrics.of(model)
            batcher = Batcher(model.engine, self._threads, self._parallel, metrics.batch, model.row_seconds)
            lane = _Lane(batcher, metrics)
            self._lanes[model] = lane
        return lane


def _afterwards(count: Callable[..., None], *values: Any) -> None:
    """Count in the event loop's next round: the answer need not wait for it. What a process that is killed has answered
    last is not in these figures."""
    asyncio.get_running_loop().call_soon(count, *values)


def _champion(deployment: Deployment, name: str) -> ServedModel:
    if deployment.champion is None:
        raise RequestError(503, f"no version of {name!r} is champion; name one by version or alias")
    return deployment.champion


def _routing_key(champion: ServedModel, request: HttpRequest, payload: Payload | None) -> str:
    given = request.headers.get(_ROUTING_KEY)
    if given:
        return given.decode("latin-1")
    key = payload.routing_key(champion.entity_key) if payload is not None else None
    return request.request_id if key is None else key
