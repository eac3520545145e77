"""Keeping what is served equal to what the registry's aliases say."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from contract import ALIAS_CHAMPION
from serving.errors import RequestError, VersionRefused
from serving.models.loader import Loader
from serving.metrics import Metrics
from serving.models.model import ServedModel
from serving.models.registry import Registry

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 2.0
_FIRST_RETRY_OF_REFUSED_SECONDS = 60.0
_LAST_RETRY_SECONDS = 600.0


@dataclass(frozen=True)
class Failure:
    """A version that an alias points to and that is not served."""

    version: int
    reason: str
    tries: int
    retry_at: float
    """On the follower's clock."""


@dataclass(frozen=True)
class Catalog:
    """What is served at one moment. Requests take the catalog once, so they never see half a change."""

    served: Mapping[str, ServedModel] = field(default_factory=dict)
    champions: Mapping[str, int | None] = field(default_factory=dict)
    """Version that `champion` points to, for every registered model; None without that alias."""
    failures: Mapping[str, Failure] = field(default_factory=dict)
    complete: bool = False
    """Whether the registry was read, and each champion tried, at least once."""

    def find(self, name: str) -> ServedModel:
        """Return the model that answers for `name`.

        Raises:
            RequestError: 404 for a name the registry does not have, 503 for a model that cannot answer yet.
        """
        model = self.served.get(name)
        if model is not None:
            return model
        if not self.complete:
            raise _soon_ready(
                f"MLflow's registry has not been read yet, so {name!r} is not known; try again in a moment, "
                "and if this lasts see `platform logs serving`"
            )
        if name in self.failures:
            failure = self.failures[name]
            message = f"{name!r} has no version that can serve: version {failure.version}: {failure.reason}"
            raise RequestError(503, message)
        if self.champions.get(name) is not None:
            raise _soon_ready(f"version {self.champions[name]} of {name!r} is being loaded; try again in a moment")
        if name in self.champions or not self.served:
            message = f"{name!r} has no champion yet: train and register a version that passes its gate "
            message += f"(`platform run PROJECT loop`), or set the alias {ALIAS_CHAMPION!r} on a version in MLflow"
            raise RequestError(503, message)
        raise RequestError(404, f"no model {name!r}; served are: {', '.join(sorted(self.served))}")


def _soon_ready(message: str) -> RequestError:
    """A refusal that ends by itself: the caller is asked to try again."""
    return RequestError(503, message, headers={"Retry-After": "1"})


class Follower:
    """Polls the registry and replaces versions. A version that fails never takes the place of one that serves."""

    def __init__(
        self, registry: Registry, loader: Loader, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Follow `registry`, loading versions by `loader`."""
        self.catalog = Catalog()
        self._registry = registry
        self._loader = loader
        self._metrics = metrics
        self._clock = clock
        self._registry_up = True
        self._previous: dict[str, str] = {}

    def run(self, stop: threading.Event, poll_seconds: float) -> None:
        """Poll until `stop` is set."""
        while not stop.is_set():
            self.poll()
            stop.wait(poll_seconds)

    def poll(self) -> None:
        """Read the aliases once and act on what changed. Never raises: what serves, serves on."""
        try:
            aliases = self._registry.aliases()
        except Exception as exc:
            self._set_registry_up(False, exc)
            return
        self._set_registry_up(True)
        champions = {name: by_alias.get(ALIAS_CHAMPION) for name, by_alias in aliases.items()}
        self.catalog = replace(self.catalog, champions=champions)
        for name in self.catalog.served.keys() | self.catalog.failures.keys():
            if champions.get(name) is None:
                self._withdraw(name)
        for name, version in champions.items():
            if version is not None:
                self._follow(name, version)
        self.catalog = replace(self.catalog, complete=True)

    def _follow(self, name: str, version: int) -> None:
        served, failure = self.catalog.served.get(name), self.catalog.failures.get(name)
        if served is not None and served.version == version:
            self._set_failure(name, None)
            return
        if failure is not None and failure.version == version and self._clock() < failure.retry_at:
            return
        started = time.perf_counter()
        try:
            model = self._loader.load(name, version, ALIAS_CHAMPION)
        except Exception as exc:
            self._failed(name, version, failure, exc)
            return
        self._set_failure(name, None)
        self._switch(name, model)
        log.info("%s: version %d serves (loaded in %.2f s)", name, version, time.perf_counter() - started)
        self._loader.prune({model.digest for model in self.catalog.served.values()} | set(self._previous.values()))

    def _failed(self, name: str, version: int, before: Failure | None, exc: Exception) -> None:
        tries = before.tries + 1 if before is not None and before.version == version else 1
        refused = isinstance(exc, VersionRefused)
        first = _FIRST_RETRY_OF_REFUSED_SECONDS if refused else _FIRST_RETRY_SECONDS
        delay = min(first * 2 ** (tries - 1), _LAST_RETRY_SECONDS)
        reason = str(exc) if refused else f"loading failed: {type(exc).__name__}: {exc}"
        self._set_failure(name, Failure(version, reason, tries, self._clock() + delay))
        self._metrics.load_failures.labels(name, str(version)).inc()
        served = self.catalog.served.get(name)
        log.error(
            "%s: version %d cannot serve: %s. %s; tried again when the alias moves, or in %.0f s",
            name,
            version,
            reason,
            f"version {served.version} serves on" if served else "no version serves",
            delay,
        )

    def _set_failure(self, name: str, failure: Failure | None) -> None:
        if failure is None and name not in self.catalog.failures:
            return
        others = {key: value for key, value in self.catalog.failures.items() if key != name}
        self.catalog = replace(self.catalog, failures=others | ({name: failure} if failure else {}))
        self._metrics.not_served.labels(name, ALIAS_CHAMPION).set(int(failure is not None))

    def _switch(self, name: str, model: ServedModel | None) -> None:
        old = self.catalog.served.get(name)
        others = {key: value for key, value in self.catalog.served.items() if key != name}
        self.catalog = replace(self.catalog, served=others | ({name: model} if model else {}))
        self._metrics.switched(old, model)
        if old is not None:
            self._previous[name] = old.digest

    def _withdraw(self, name: str) -> None:
        self._set_failure(name, None)
        if name in self.catalog.served:
            self._switch(name, None)
            log.warning("%s: the alias %s is gone; the model is not served any more", name, ALIAS_CHAMPION)

    def _set_registry_up(self, up: bool, exc: Exception | None = None) -> None:
        self._metrics.registry_up.set(int(up))
        if up:
            self._metrics.registry_read.set_to_current_time()
        if up and not self._registry_up:
            log.info("MLflow answers again")
        if not up and self._registry_up:
            log.error("MLflow does not answer (%s: %s); what serves, serves on", type(exc).__name__, exc)
        self._registry_up = up
