"""Who serves in which role, who should, and what has to be done about the difference. No thread, no network."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from contract import ALIAS_CANARY, ALIAS_CHAMPION, DIGEST_TAG, SERVING_STATUS_TAG
from serving.errors import VersionRefused
from serving.metrics import Metrics
from serving.models.catalog import Catalog, Deployment, Failure, canary_share, failed
from serving.models.compatibility import refuse_other_signature
from serving.models.model import ServedModel
from serving.models.registry import Version
from serving.models.state import StateFile

log = logging.getLogger(__name__)

_MAX_STATUS = 500

Key = tuple[str, str]
"""A model and a role."""
Tags = Mapping[str, str]


@dataclass(frozen=True)
class Held:
    """A version that serves, as it was registered and as it is in memory."""

    version: Version
    model: ServedModel


@dataclass(frozen=True)
class Job:
    """A version to be made ready for a role."""

    key: Key
    number: int
    known: Held | None = None
    """The same version, if it serves in another role already."""
    kept: Version | None = None
    """Set if it served before this process began, and is to serve until the registry says otherwise."""


class Roster:
    """The deployments of all models. Its methods may be called from several threads."""

    def __init__(self, metrics: Metrics, state: StateFile, clock: Callable[[], float]) -> None:
        """Count in `metrics`, keep what serves in `state`."""
        self.catalog = Catalog()
        self.on_change: Callable[[], None] = lambda: None
        self._metrics = metrics
        self._state = state
        self._clock = clock
        self._changed = threading.Condition(threading.RLock())
        self._wanted: Mapping[str, Mapping[str, int]] | None = None
        self._held: dict[Key, Held] = {}
        self._previous: dict[Key, str] = {}
        self._failures: dict[Key, Failure] = {}
        self._tags_at_failure: dict[Key, Tags] = {}
        self._loading: set[tuple[Key, int]] = set()
        self._statuses: list[tuple[Version, str | None]] = []
        self._restoring: set[Key] = set()
        self._restored = False

    def restore(self) -> list[Job]:
        """Return a job for each version that served when the state was written last."""
        with self._changed:
            kept = self._state.read()
            self._restored = bool(kept)
            jobs = [Job((version.name, role), version.number, kept=version) for role, version in kept]
            self._loading.update((job.key, job.number) for job in jobs)
            self._restoring = {job.key for job in jobs}
            return jobs

    def want(self, wanted: Mapping[str, Mapping[str, int]], tags: Mapping[tuple[Key, int], Tags]) -> list[Job]:
        """Take what the registry says, withdraw what it does not name any more; return what has to be loaded.

        Args:
            wanted: the version for each role of each registered model.
            tags: those of the versions that `watched` named.
        """
        with self._changed:
            self._wanted = wanted
            for (key, number), now in tags.items():
                self._take_tags(key, number, now)
            jobs = self._needed()
            for key, failure in list(self._failures.items()):
                if self._wanted_version(key) != failure.version:
                    self._clear_failure(key)
            for key in list(self._held):
                if self._wanted_version(key) is None:
                    self._switch(key, None)
                    log.warning("%s: no version is %s any more", *key)
            self._publish()
            return jobs

    def watched(self) -> list[tuple[Key, int]]:
        """Return the versions whose tags can change what has to be done: canaries, and those that failed."""
        with self._changed:
            canaries = {(key, held.version.number) for key, held in self._held.items() if key[1] == ALIAS_CANARY}
            return sorted(canaries | {(key, failure.version) for key, failure in self._failures.items()})

    def put(self, job: Job, held: Held) -> bool:
        """Let a version serve that has been loaded; return whether it still should.

        Raises:
            VersionRefused: it does not accept what the champion accepts.
        """
        with self._changed:
            if not self.wants(job):
                return False
            champion = self._held.get((job.key[0], ALIAS_CHAMPION))
            if champion is not None and job.kept is None:
                refuse_other_signature(champion.model, held.model, held.version.tags)
            self._clear_failure(job.key)
            self._statuses.append((held.version, None))
            serving = _with_tags(held, held.version.tags)
            self._switch(job.key, serving)
            if job.key[1] == ALIAS_CHAMPION:
                self._look_again_beside(serving)
            self._publish()
            return True

    def fail(self, job: Job, version: Version | None, exc: BaseException) -> None:
        """Remember that a version could not be made ready; `version` is None if not even its tags could be read."""
        with self._changed:
            if job.kept is not None:
                self._restored = False
                log.error("%s: version %d, which served before, cannot be restored: %s", job.key[0], job.number, exc)
            elif self.wants(job):
                self._fail(job.key, job.number, version, exc)
            self._publish()

    def wants(self, job: Job) -> bool:
        """Whether the result of a job is still of use."""
        with self._changed:
            wanted = self._wanted_version(job.key)
            if job.kept is None:
                return wanted == job.number
            return job.key not in self._held and (self._wanted is None or wanted is not None)

    def done(self, job: Job) -> list[Job]:
        """Take note that a job has ended; return what has to be loaded now."""
        with self._changed:
            self._loading.discard((job.key, job.number))
            if job.kept is not None:
                self._restoring.discard(job.key)
            jobs = self._needed()
            self._publish()
            self._changed.notify_all()
            return jobs

    def join(self, seconds: float) -> bool:
        """Wait until nothing is being loaded; return whether that came within `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._loading, seconds)

    def take_statuses(self) -> list[tuple[Version, str | None]]:
        """Return what is to be written on versions, once; None: nothing speaks against the version any more."""
        with self._changed:
            statuses, self._statuses = self._statuses, []
            return statuses

    def digests(self) -> set[str]:
        """Return the artifacts that are in use here or in another process, or were until the last change."""
        with self._changed:
            own = {held.model.digest for held in self._held.values()} | set(self._previous.values())
            return own | {version.tags.get(DIGEST_TAG, "") for _, version in self._state.read()}

    def _wanted_version(self, key: Key) -> int | None:
        name, role = key
        return (self._wanted or {}).get(name, {}).get(role)

    def _needed(self) -> list[Job]:
        jobs = [
            Job((name, role), number, known=self._serving(name, number))
            for name, by_role in (self._wanted or {}).items()
            for role, number in by_role.items()
            if self._is_due((name, role), number)
        ]
        self._loading.update((job.key, job.number) for job in jobs)
        return jobs

    def _is_due(self, key: Key, number: int) -> bool:
        held, failure = self._held.get(key), self._failures.get(key)
        if (held is not None and held.version.number == number) or (key, number) in self._loading:
            return False
        if key in self._restoring:
            return False  # what served before comes first: a new version is compared with it
        if failure is not None and failure.version == number and self._clock() < failure.retry_at:
            return False
        champion = (key[0], ALIAS_CHAMPION)
        # What comes beside a champion is compared with it, so it waits for the champion's first try.
        return key == champion or self._wanted_version(champion) is None or self._was_tried(champion)

    def _was_tried(self, key: Key) -> bool:
        return key in self._held or key in self._failures

    def _serving(self, name: str, number: int) -> Held | None:
        found = (held for held in self._held.values() if (held.version.name, held.version.number) == (name, number))
        return next(found, None)

    def _take_tags(self, key: Key, number: int, tags: Tags) -> None:
        held, failure = self._held.get(key), self._failures.get(key)
        if held is not None and held.version.number == number:
            self._held[key] = _with_tags(held, tags)
        if failure is not None and failure.version == number and self._tags_at_failure[key] != _without_status(tags):
            self._failures[key] = replace(failure, retry_at=self._clock())

    def _switch(self, key: Key, new: Held | None) -> None:
        old = self._held.pop(key, None)
        if new is not None:
            self._held[key] = new
        self._metrics.switched(old.model if old else None, new.model if new else None)
        if old is not None:
            self._previous[key] = old.model.digest

    def _look_again_beside(self, champion: Held) -> None:
        """Hold what serves beside a new champion against it, and let what failed beside the old one try again."""
        name = champion.version.name
        for key, failure in self._failures.items():
            if key[0] == name:
                self._failures[key] = replace(failure, retry_at=self._clock())
        for key, held in list(self._held.items()):
            if key[0] == name and held is not champion:
                try:
                    refuse_other_signature(champion.model, held.model, held.version.tags)
                except VersionRefused as exc:
                    self._switch(key, None)
                    self._fail(key, held.version.number, held.version, exc)

    def _fail(self, key: Key, number: int, version: Version | None, exc: BaseException) -> None:
        name, role = key
        now = self._clock()
        self._failures[key] = failure = failed(self._failures.get(key), number, role, exc, now)
        self._tags_at_failure[key] = _without_status(version.tags if version else {})
        self._statuses.append(
            (version or Version(name, number, "", {}, ""), f"refused as {role}: {failure.reason}"[:_MAX_STATUS])
        )
        self._metrics.load_failures.labels(name, str(number)).inc()
        self._metrics.not_served.labels(name, role).set(1)
        held = self._held.get(key)
        standing = f"version {held.version.number} serves on" if held else "no version is"
        again = f"tried again when the alias or a tag changes, or in {failure.retry_at - now:.0f} s"
        log.error("%s: version %d cannot be %s: %s. %s; %s", name, number, role, failure.reason, standing, again)

    def _clear_failure(self, key: Key) -> None:
        if self._failures.pop(key, None) is not None:
            self._metrics.not_served.labels(*key).set(0)

    def _publish(self) -> None:
        by_model: dict[str, dict[str, ServedModel]] = {}
        for (name, role), held in self._held.items():
            by_model.setdefault(name, {})[role] = held.model
        failures = dict(self._failures)
        deployments = {
            name: Deployment(**by_role, canary_share=self._share((name, ALIAS_CANARY), failures))
            for name, by_role in by_model.items()
        }
        complete = self.catalog.complete or self._is_complete()
        catalog = Catalog(deployments, failures, self._wanted or {}, complete)
        if self._wanted is not None and not self._restoring:
            self._state.write([(key[1], held.version) for key, held in sorted(self._held.items())])
        if catalog != self.catalog:
            self.catalog = catalog
            self.on_change()

    def _share(self, canary: Key, failures: dict[Key, Failure]) -> float:
        held = self._held.get(canary)
        if held is None:
            return 0.0
        try:
            return canary_share(held.version.tags)
        except ValueError as exc:
            known = self.catalog.failures.get(canary)
            if known is None or known.reason != str(exc):
                log.error("%s: version %d, the canary: %s", canary[0], held.version.number, exc)
            failures.setdefault(canary, Failure(held.version.number, ALIAS_CANARY, str(exc), 1, math.inf))
            return 0.0

    def _is_complete(self) -> bool:
        if self._wanted is None:
            return self._restored and not self._loading
        champions = [(name, ALIAS_CHAMPION) for name, by_role in self._wanted.items() if ALIAS_CHAMPION in by_role]
        return all(self._was_tried(key) for key in champions)


def _with_tags(held: Held, tags: Tags) -> Held:
    return replace(held, version=replace(held.version, tags=_without_status(tags)))


def _without_status(tags: Tags) -> Tags:
    return {key: value for key, value in tags.items() if key != SERVING_STATUS_TAG}
