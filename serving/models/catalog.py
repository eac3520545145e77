"""What is served at one moment, and what a caller who names something else is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from contract import ALIAS_CANARY, ALIAS_CHAMPION, ALIAS_SHADOW, CANARY_SHARE_TAG
from serving.errors import RequestError, VersionRefused
from serving.models.model import ServedModel

ROLES = (ALIAS_CHAMPION, ALIAS_CANARY, ALIAS_SHADOW)
"""The aliases that are deployments; any other is nothing to this server."""
DEFAULT_SHARE_PERCENT = 10.0
FIRST_RETRY_SECONDS = 2.0
FIRST_RETRY_OF_REFUSED_SECONDS = 60.0
LAST_RETRY_SECONDS = 600.0


@dataclass(frozen=True)
class Failure:
    """A version that an alias points to and that does not serve as the alias says."""

    version: int
    role: str
    reason: str
    tries: int
    retry_at: float
    """On the follower's clock."""


@dataclass(frozen=True)
class Deployment:
    """The versions of one model that serve, each in its role."""

    champion: ServedModel | None = None
    canary: ServedModel | None = None
    canary_share: float = 0.0
    """Part of the traffic that the canary gets, 0 to 1."""
    shadow: ServedModel | None = None

    def versions(self) -> list[ServedModel]:
        """Return all versions, the champion first."""
        return [model for model in (self.champion, self.canary, self.shadow) if model is not None]

    def named(self, version: str | None, alias: str | None) -> ServedModel:
        """Return the version with this number and this alias; None names nothing.

        Raises:
            RequestError: 404, there is no such version; the message lists what is served.
        """
        served = self.versions()
        for model in served:
            if version in (None, str(model.version)) and alias in (None, model.role):
                return model
        wanted = " and ".join(
            f"{kind} {value!r}" for kind, value in (("version", version), ("alias", alias)) if value is not None
        )
        known = ", ".join(f"version {model.version} ({model.role})" for model in served)
        raise RequestError(404, f"no {wanted} of this model is served; served are: {known}")


@dataclass(frozen=True)
class Catalog:
    """What is served at one moment. Requests take the catalog once, so they never see half a change."""

    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    """By model; each has at least one version."""
    failures: Mapping[tuple[str, str], Failure] = field(default_factory=dict)
    """By model and role."""
    wanted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The version for each role, as the aliases say, for every registered model."""
    complete: bool = False
    """Whether every champion was tried at least once, or all that served before a restart serves again."""

    def find(self, name: str) -> Deployment:
        """Return what serves for `name`; it has a champion unless the model only has other roles.

        Raises:
            RequestError: 404 for a name the registry does not have, 503 for a model that cannot answer yet.
        """
        deployment = self.deployments.get(name)
        if deployment is not None:
            return deployment
        self._refuse_before_read(name)
        failure = self.failures.get((name, ALIAS_CHAMPION))
        if failure is not None:
            message = f"{name!r} has no version that can serve: version {failure.version}: {failure.reason}"
            raise RequestError(503, message)
        champion = self.wanted.get(name, {}).get(ALIAS_CHAMPION)
        if champion is not None:
            raise _soon_ready(f"version {champion} of {name!r} is being loaded; try again in a moment")
        if name in self.wanted or not self.deployments:
            message = f"{name!r} has no champion yet: train and register a version that passes its gate "
            message += f"(`platform run PROJECT loop`), or set the alias {ALIAS_CHAMPION!r} on a version in MLflow"
            raise RequestError(503, message)
        raise self._unknown(name)

    def known(self, name: str) -> None:
        """Pass if `name` is a registered model, served or not.

        Raises:
            RequestError: 404, it is not; 503, the registry was not read yet.
        """
        if name not in self.deployments and name not in self.wanted:
            self._refuse_before_read(name)
            raise self._unknown(name)

    def _refuse_before_read(self, name: str) -> None:
        if not self.complete and not self.wanted:
            raise _soon_ready(
                f"MLflow's registry has not been read yet, so {name!r} is not known; try again in a moment, "
                "and if this lasts see `platform logs serving`"
            )

    def _unknown(self, name: str) -> RequestError:
        served = ", ".join(sorted(self.deployments)) or "none"
        return RequestError(404, f"no model {name!r}; served are: {served}")


def roles(aliases: Mapping[str, int]) -> dict[str, int]:
    """Return the version for each role from a model's aliases. The champion's version has no other role beside."""
    champion = aliases.get(ALIAS_CHAMPION)
    return {
        role: aliases[role]
        for role in ROLES
        if role in aliases and (role == ALIAS_CHAMPION or aliases[role] != champion)
    }


def canary_share(tags: Mapping[str, str]) -> float:
    """Return the part of the traffic, 0 to 1, that a version's tags give it as canary.

    Raises:
        ValueError: the tag is no percentage; the message says so.
    """
    raw = tags.get(CANARY_SHARE_TAG)
    try:
        percent = DEFAULT_SHARE_PERCENT if raw is None else float(raw)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise ValueError(
            f"its tag {CANARY_SHARE_TAG} is {raw!r}, expected percent as a number from 0 to 100: until that is "
            "corrected it gets no traffic but what names it"
        )
    return percent / 100


def failed(before: Failure | None, version: int, role: str, exc: BaseException, now: float) -> Failure:
    """Return the failure of a version after one more try; each wait is twice as long as the one before, and longer
    for what was refused than for what only went wrong."""
    tries = before.tries + 1 if before is not None and before.version == version else 1
    refused = isinstance(exc, VersionRefused)
    first = FIRST_RETRY_OF_REFUSED_SECONDS if refused else FIRST_RETRY_SECONDS
    reason = str(exc) if refused else f"loading failed: {type(exc).__name__}: {exc}"
    return Failure(version, role, reason, tries, now + min(first * 2 ** (tries - 1), LAST_RETRY_SECONDS))


def _soon_ready(message: str) -> RequestError:
    """A refusal that ends by itself: the caller is asked to try again."""
    return RequestError(503, message, headers={"Retry-After": "1"})
