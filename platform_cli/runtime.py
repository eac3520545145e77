"""What the commands ask of a runtime, whichever of the two the stack runs in."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from platform_cli.home import Home
from platform_cli.local.progress import Progress
from platform_cli.stack.model import Service, Stack

STEPS_SERVICE = "pipelines"
STEPS_MODULE = "pipelines"


@dataclass(frozen=True)
class ServiceStatus:
    """How a service is, and where: `url` for programs of this machine, `page` for people. `healthy` is None for a
    service that is not installed because it is optional."""

    service: str
    state: str
    healthy: bool | None
    url: str
    page: str
    pid: int | None
    detail: str = ""


@dataclass(frozen=True)
class Program:
    """A program to become or to start; what follows `command` are its arguments."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


class StackRuntime(Protocol):
    """The stack of one home, in its runtime."""

    stack: Stack
    home: Home

    def up(self, progress: Progress) -> None:
        """Make what is missing, start what does not run, and wait until everything is healthy.

        Raises:
            PlatformError: what failed, with the end of its log.
        """

    def down(self, progress: Progress) -> None:
        """Stop every service; data stays."""

    def purge(self) -> None:
        """Delete all data outside of the home; the stack is down."""

    def running(self) -> bool:
        """Whether the stack is up, as a whole or in part."""

    def restart(self, service: Service, progress: Progress) -> None:
        """Stop a service, start it, and wait until it is healthy. Raises PlatformError."""

    def status(self) -> list[ServiceStatus]:
        """How every service that stays is, checked now."""

    def step(self, module: str = STEPS_MODULE, keep: Iterable[str] = (), files: Collection[Path] = ()) -> Program:
        """What runs a module of the steps with all that a step is given.

        Args:
            keep: variables that are the caller's, where they are set.
            files: the caller's, which it reads or writes as the caller; they may not exist yet.

        Raises:
            PlatformError: the steps' environment is not installed.
        """

    def within(self, service: str, command: Sequence[str], keep: Iterable[str] = ()) -> Program:
        """What runs a command where a service runs, with the variables of that service.

        Args:
            keep: as for `step`.
        """

    def show_log(self, service: str, lines: int, *, follow: bool) -> NoReturn:
        """Become the program that shows the last lines of a service's log. Raises PlatformError if there is none."""
