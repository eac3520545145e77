"""Keeping what is served equal to what the registry's aliases say."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from contract import DIGEST_TAG, SERVING_STATUS_TAG
from serving.metrics import Metrics
from serving.models.catalog import Catalog, roles
from serving.models.loader import Loader
from serving.models.registry import Registry, Version
from serving.models.roster import Held, Job, Key, Roster, Tags
from serving.models.state import Bell, StateFile

log = logging.getLogger(__name__)

_LOADED_AT_ONCE = 8
_LISTEN_SECONDS = 0.1


class Follower:
    """Reads the aliases and replaces versions; each is loaded in a thread of its own, so that none waits for another.

    A version that fails never takes the place of one that serves.
    """

    def __init__(
        self, registry: Registry, loader: Loader, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Follow `registry`, loading versions by `loader`."""
        self._registry = registry
        self._loader = loader
        self._metrics = metrics
        self._roster = Roster(metrics, StateFile(loader.directory / "state.json"), clock)
        self._bell = Bell(loader.directory / "wake")
        self._woken = threading.Event()
        self._slots = threading.BoundedSemaphore(_LOADED_AT_ONCE)
        self._registry_up = True

    @property
    def catalog(self) -> Catalog:
        """What is served now. It is replaced as a whole."""
        return self._roster.catalog

    @property
    def on_change(self) -> Callable[[], None]:
        """Called after each change of `catalog`, in the thread that made it."""
        return self._roster.on_change

    @on_change.setter
    def on_change(self, hook: Callable[[], None]) -> None:
        self._roster.on_change = hook

    def run(self, stop: threading.Event, seconds: float) -> None:
        """Serve what served before, then poll until `stop` is set: every `seconds`, and whenever `wake` was called."""
        self.restore()
        while not stop.is_set():
            self._woken.clear()
            self._bell.heard()
            self.poll()
            end = time.monotonic() + seconds
            while not stop.is_set() and (left := end - time.monotonic()) > 0:
                if self._woken.wait(min(left, _LISTEN_SECONDS)) or self._bell.heard():
                    break

    def wake(self) -> None:
        """Poll at once: in this process, and within a fifth of a second in the others of this server."""
        self._bell.ring()
        self._woken.set()

    def restore(self) -> None:
        """Begin to load what served when the last process ended, from the cache: the registry need not answer."""
        self._start(self._roster.restore())

    def poll(self) -> None:
        """Read the registry once and begin what has to be done. Never raises: what serves, serves on."""
        try:
            wanted = {name: roles(aliases) for name, aliases in self._registry.aliases().items()}
            tags = self._watched_tags()
        except Exception as exc:
            self._set_registry_up(False, exc)
            return
        self._set_registry_up(True)
        self._start(self._roster.want(wanted, tags))

    def join(self, seconds: float) -> bool:
        """Wait until nothing is being loaded; return whether that came within `seconds`."""
        return self._roster.join(seconds)

    def _watched_tags(self) -> dict[tuple[Key, int], Tags]:
        tags: dict[tuple[Key, int], Tags] = {}
        for key, number in self._roster.watched():
            try:
                tags[key, number] = self._registry.version(key[0], number).tags
            except Exception as exc:
                log.debug("%s: version %d cannot be read: %s", key[0], number, exc)
        return tags

    def _start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            threading.Thread(target=self._do, args=(job,), name=f"load {' '.join(job.key)}", daemon=True).start()

    def _do(self, job: Job) -> None:
        version = job.kept
        try:
            with self._slots:
                if self._roster.wants(job):
                    started = time.perf_counter()
                    version = version or self._registry.version(job.key[0], job.number)
                    if self._roster.put(job, self._ready(job, version)):
                        name, role = job.key
                        log.info("%s: version %d is %s (%.2f s)", name, job.number, role, time.perf_counter() - started)
                        self._loader.prune(self._roster.digests())
        except (Exception, SystemExit) as exc:
            self._roster.fail(job, version, exc)
        self._write_statuses()
        self._start(self._roster.done(job))

    def _ready(self, job: Job, version: Version) -> Held:
        role, known = job.key[1], job.known
        if known is not None and known.model.digest == version.tags.get(DIGEST_TAG):
            return Held(version, replace(known.model, role=role, since=datetime.now(UTC)))
        load = self._loader.load if job.kept is None else self._loader.restore
        return Held(version, load(version, role))

    def _write_statuses(self) -> None:
        """Write on versions why they do not serve. All processes of a server write the same."""
        for version, text in self._roster.take_statuses():
            before = version.tags.get(SERVING_STATUS_TAG)
            try:
                if text is None and before is not None:
                    self._registry.delete_tag(version.name, version.number, SERVING_STATUS_TAG)
                elif text is not None and text != before:
                    self._registry.set_tag(version.name, version.number, SERVING_STATUS_TAG, text)
            except Exception as exc:
                log.warning(
                    "%s: the tag %s of version %d cannot be written: %s",
                    version.name,
                    SERVING_STATUS_TAG,
                    version.number,
                    exc,
                )

    def _set_registry_up(self, up: bool, exc: Exception | None = None) -> None:
        self._metrics.registry_up.set(int(up))
        if up:
            self._metrics.registry_read.set_to_current_time()
        if up and not self._registry_up:
            log.info("MLflow answers again")
        if not up and self._registry_up:
            log.error("MLflow does not answer (%s: %s); what serves, serves on", type(exc).__name__, exc)
        self._registry_up = up
