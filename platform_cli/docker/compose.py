"""`docker compose` for the stack of one home: its command line, and what its services look like."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from platform_cli.docker.engine import Engine
from platform_cli.home import REPO, Home, project_name
from platform_cli.stack.compose import ROOT_FILE

ONE_SHOT_DONE = 0


@dataclass(frozen=True)
class Container:
    """A service's container. `health` is empty without a health check, `code` the exit code of one that has ended."""

    service: str
    id: str
    state: str
    health: str
    code: int

    @property
    def healthy(self) -> bool:
        """Whether it is as it should be: running and healthy, or ended well."""
        if self.state == "exited":
            return self.code == ONE_SHOT_DONE
        return self.state == "running" and self.health in ("", "healthy")

    @property
    def failed(self) -> bool:
        """Whether waiting will not help."""
        return self.health == "unhealthy" or self.state == "dead" or (self.state == "exited" and self.code != 0)


class Compose:
    """Calls of `docker compose` for one home. Their variables are in `home.compose_env`."""

    def __init__(self, engine: Engine, home: Home, profiles: Sequence[str] = ()) -> None:
        self.engine = engine
        self.home = home
        self.profiles = tuple(profiles)

    @property
    def words(self) -> tuple[str, ...]:
        """What every call begins with, after `docker`."""
        return (
            "compose",
            f"--project-name={project_name(self.home)}",
            f"--project-directory={REPO}",
            f"--env-file={self.home.compose_env}",
            f"--file={ROOT_FILE}",
            *(f"--profile={profile}" for profile in self.profiles),
        )

    def run(self, *words: str, timeout: float = 120.0) -> str:
        """The output of a call. Raises DockerFailed."""
        return self.engine.run(*self.words, *words, timeout=timeout).stdout

    def become(self, *words: str) -> NoReturn:
        """Become the call: its streams and its exit code are this process's."""
        os.execv(self.engine.docker, [self.engine.docker, *self.words, *words])  # noqa: S606

    def containers(self) -> list[Container]:
        """The containers of the stack's services, those that have ended among them."""
        return [_container(entry) for entry in _objects(self.run("ps", "--all", "--format=json"))]


def last_check(engine: Engine, container: Container) -> str:
    """What the last health check of a container said; empty if there was none."""
    found = json.loads(engine.run("inspect", "--format={{json .State}}", container.id).stdout)
    log = (found.get("Health") or {}).get("Log") or []
    return str(log[-1]["Output"]).strip() if log else ""


def socket_group(socket: Path) -> str:
    """The id of the group that the engine's socket belongs to."""
    return str(socket.stat().st_gid)


def _objects(text: str) -> list[dict[str, Any]]:
    """The objects of `--format json`: a list, or one a line."""
    stripped = text.strip()
    if stripped.startswith("["):
        return list(json.loads(stripped))
    return [json.loads(line) for line in stripped.splitlines() if line.startswith("{")]


def _container(entry: dict[str, Any]) -> Container:
    return Container(entry["Service"], entry["ID"], entry["State"], entry.get("Health", ""), int(entry["ExitCode"]))
