"""The stack as data: what the compose files say, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from platform_cli.errors import UsageError
from platform_cli.stack.secrets import Secret, Text


class Runtime(StrEnum):
    """What the stack runs in: native processes of this machine, or containers of a Docker engine."""

    LOCAL = "local"
    DOCKER = "docker"


class Condition(StrEnum):
    """What a service waits for in another, in the Compose specification's words."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


@dataclass(frozen=True)
class Healthcheck:
    """A health check. `test` is the argument list without CMD; durations are in seconds."""

    test: tuple[Text, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0

    @property
    def patience(self) -> float:
        """Seconds after its start in which a service must have become healthy."""
        return self.start_period + self.interval * self.retries


@dataclass(frozen=True)
class ConfigFile:
    """A file that a service reads, by the name of its config: where, and its content."""

    name: str
    target: Path
    content: Text


@dataclass(frozen=True)
class Local:
    """`x-local`: what only the local runtime needs."""

    env: str
    command: tuple[Text, ...] = ()
    unprivileged: bool = False
    user: str = ""
    """Whom root runs it as; empty: SERVICE_USER if it is unprivileged, else root."""
    data: tuple[Path, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[Path, ...] = ()
    healthcheck: tuple[Text, ...] = ()
    optional: bool = False
    environment: Mapping[str, Text] = field(default_factory=dict)


@dataclass(frozen=True)
class Service:
    """One service of the stack. `url` is where programs of the owner's machine find it (`x-url`), `page` where people
    do: both are empty for a service that nobody calls, or that no container publishes."""

    name: str
    component: str
    command: tuple[Text, ...]
    environment: Mapping[str, Text]
    depends_on: Mapping[str, Condition]
    healthcheck: Healthcheck | None
    configs: tuple[ConfigFile, ...]
    url: str
    page: str
    credentials: Mapping[str, Text]
    one_shot: bool
    profiles: tuple[str, ...]
    stop_grace: float
    local: Local
    from_file: frozenset[str] = frozenset()
    """The variables of its environment that a container finds in a file."""
    restarted_with: frozenset[str] = frozenset()
    """Those it depends on that it does not outlive: when one is started again, so is this one."""


@dataclass(frozen=True)
class Stack:
    """All services, with the settings and secrets they were made of."""

    services: Mapping[str, Service]
    settings: Mapping[str, str]
    secrets: Mapping[str, Secret]
    containers_only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Services that the local runtime leaves out, with their profiles."""
    variables: Mapping[str, Text] = field(default_factory=dict)
    """All that the compose files are interpolated with."""

    @property
    def started(self) -> list[Service]:
        """The services that `up` starts or runs: those without a profile, or with one that is asked for."""
        asked = set(self.profiles)
        return [service for service in self.services.values() if not service.profiles or asked & set(service.profiles)]

    @property
    def profiles(self) -> list[str]:
        """The profiles that are asked for."""
        return self.settings.get("COMPOSE_PROFILES", "").replace(",", " ").split()

    @property
    def running(self) -> list[Service]:
        """The services that stay: those that do not end by themselves."""
        return [service for service in self.started if not service.one_shot]

    def service(self, name: str) -> Service:
        """A service that stays, by name.

        Raises:
            UsageError: there is none of this name, or only in containers; lists those there are.
        """
        names = {service.name: service for service in self.running}
        if name in self.containers_only:
            with_profile = "".join(f", with the profile {profile}" for profile in self.containers_only[name][:1])
            raise UsageError(
                f"{name} runs only in containers, and is left out here",
                do=f"start it on a machine with a container engine{with_profile}",
            )
        if name not in names:
            raise UsageError(f"there is no service {name!r}", do=f"the services are: {', '.join(sorted(names))}")
        return names[name]
