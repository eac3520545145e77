"""`docker compose` for the stack of one home: its command line, and what its services look like."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from platform_cli.docker.engine import Engine
from platform_cli.home import REPO, Home, project_name
from platform_cli.stack.documents import ROOT_FILE

_LABEL = "com.docker.compose"
MANY_RESTARTS = 3


@dataclass(frozen=True)
class Container:
    """A service's container. `health` is empty without a health check, `check` what the last one said, `code` the exit
    code of one that has ended, `restarts` how often the engine has started it again by itself, `started` when it was
    started last. `definition` is a digest of what it was made from, `image` its image's name, `image_id` which one,
    `files` the single files of this machine that are mounted into it."""

    service: str
    id: str
    definition: str
    image: str
    image_id: str
    started: datetime
    state: str
    health: str
    check: str
    code: int
    restarts: int
    files: tuple[Path, ...]
    one_shot: bool

    @property
    def healthy(self) -> bool:
        """Whether it is as it should be: a job has ended well, another runs and is healthy."""
        if self.one_shot:
            return self.state == "exited" and self.code == 0
        return self.state == "running" and self.health in ("", "healthy")

    @property
    def ended(self) -> bool:
        """Whether it ends by itself, though the engine may be about to start it again."""
        return self.state in ("exited", "restarting") or (self.restarts >= MANY_RESTARTS and not self.healthy)

    @property
    def failed(self) -> bool:
        """Whether waiting will not help."""
        gives_up = self.state == "exited" or self.restarts >= MANY_RESTARTS
        return not self.healthy and (self.health == "unhealthy" or self.state == "dead" or gives_up)


class Compose:
    """Calls of `docker compose` for one home, whose variables are in `home.compose_env`. `jobs` end by themselves."""

    def __init__(self, engine: Engine, home: Home, profiles: Sequence[str], jobs: Collection[str]) -> None:
        self.engine = engine
        self.home = home
        self.profiles = tuple(profiles)
        self.jobs = jobs

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
        # asked of the engine itself: `docker compose ps` reads all the files anew and takes seven times as long
        labels = (f"{_LABEL}.project={project_name(self.home)}", f"{_LABEL}.oneoff=False")
        words = [f"--filter=label={label}" for label in labels]
        found = self.engine.run("ps", "--all", "--quiet", *words).stdout.split()
        # one may have gone meanwhile
        text = self.engine.run("inspect", *found, check=False).stdout if found else "[]"
        return [_container(entry, self.jobs) for entry in json.loads(text)]

    def definitions(self) -> dict[str, str]:
        """Service → digest of what a container of it would be made from now."""
        # Of the files, Compose 2.40 gives a service with an `env_file` another digest than its own `up` does.
        words = [word for word in self.words if not word.startswith("--file=")]
        found = self.engine.run(*words, "--file=-", "config", "--hash=*", input=self.run("config"))
        return dict(line.split() for line in found.stdout.splitlines())


def socket_group(socket: Path) -> str:
    """The id of the group that the engine's socket belongs to."""
    return str(socket.stat().st_gid)


def _container(entry: Mapping[str, Any], jobs: Collection[str]) -> Container:
    labels, state = entry["Config"]["Labels"], entry["State"]
    health = state.get("Health") or {"Status": "", "Log": None}
    service = labels[f"{_LABEL}.service"]
    return Container(
        service=service,
        id=entry["Id"],
        definition=labels[f"{_LABEL}.config-hash"],
        image=entry["Config"]["Image"],
        image_id=entry["Image"],
        started=datetime.fromisoformat(state["StartedAt"]),
        state=state["Status"],
        health=health["Status"],
        check=str(health["Log"][-1]["Output"]).strip() if health["Log"] else "",
        code=state["ExitCode"],
        restarts=int(entry["RestartCount"]),
        files=tuple(
            path for mount in entry["Mounts"] if mount["Type"] == "bind" and (path := Path(mount["Source"])).is_file()
        ),
        one_shot=service in jobs,
    )
