"""The docker runtime: brings the stack up as containers, down, and says how it is."""

from __future__ import annotations

import getpass
import os
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from platform_cli.docker import files as mounted
from platform_cli.docker.build import Builder, check_disk, plan, present
from platform_cli.docker.compose import Compose, Container, socket_group
from platform_cli.docker.engine import DockerFailed, Engine
from platform_cli.docker.images import stack_images
from platform_cli.errors import PlatformError
from platform_cli.home import REPO, Home
from platform_cli.local.progress import Progress
from platform_cli.runtime import STEPS_MODULE, STEPS_SERVICE, Program, ServiceStatus
from platform_cli.stack.model import Service, Stack
from platform_cli.stack.secrets import redact, reveal

POLL_SECONDS = 0.5
UP_SECONDS = 600.0
DOWN_SECONDS = 120.0
LOG_LINES = 20


class DockerRuntime:
    """The stack of one home as containers."""

    def __init__(self, stack: Stack, home: Home, engine: Engine) -> None:
        self.stack = stack
        self.home = home
        self.engine = engine
        self._jobs = {service.name for service in stack.services.values() if service.one_shot}
        self.compose = Compose(engine, home, stack.profiles, self._jobs)

    # -- up ---------------------------------------------------------------------------------------------------------

    def up(self, progress: Progress) -> None:
        """Build the images that are missing, start what does not run or has changed, and wait until everything is
        healthy.

        Raises:
            PlatformError: an image could not be built or had, or a service failed; with the end of its output. What
                has started keeps running.
        """
        self.write_files()
        self._provide_images(progress)
        before = {container.service: container for container in self.compose.containers()}
        wanting = self._wanting(before)
        if not wanting:
            return
        for name in wanting:
            progress.begin(name, "starting")
        # what Compose does not see: a container reads the files that are mounted into it when it starts
        outdated = [name for name in wanting if name in before and self._is_outdated(before[name])]
        if outdated:
            self.compose.run("rm", "--stop", "--force", *outdated, timeout=DOWN_SECONDS)
        failures: list[DockerFailed] = []
        starting = threading.Thread(target=self._start, args=[failures])
        starting.start()
        try:
            self._watch(progress, starting, before)
        finally:
            starting.join()
        bad = [container for container in self.compose.containers() if container.failed]
        if bad or failures:
            raise self._failed(bad, failures)

    def _wanting(self, found: Mapping[str, Container]) -> list[str]:
        """The services that are not as they should be, or that would be made from something else now."""
        if not found:
            return [service.name for service in self.stack.started]
        definitions = self.compose.definitions()
        images = present(self.engine, {container.image for container in found.values()})

        def is_right(container: Container) -> bool:
            image = images.get(container.image)
            return (
                container.healthy
                and container.definition == definitions.get(container.service)
                and image is not None
                and container.image_id == image.id
                and not self._is_outdated(container)
            )

        return [
            service.name
            for service in self.stack.started
            if service.name not in found or not is_right(found[service.name])
        ]

    def _is_outdated(self, container: Container) -> bool:
        return mounted.written(self.stack.services[container.service], container.files, self.home) > container.started

    def write_files(self) -> None:
        """Write what the containers are started from."""
        socket = self.engine.socket
        group = {"DOCKER_SOCKET_GROUP": socket_group(socket)} if socket is not None and socket.exists() else {}
        mounted.write_files(self.stack, self.home, group)

    def _provide_images(self, progress: Progress) -> None:
        """Pull those of upstream's that are missing, and build those of ours that are, or that the checkout is not any
        more what they were built from."""
        wanted = [image for image in stack_images(self.stack.settings) if image.wanted(self.stack.profiles)]
        there = present(self.engine, [image.name for image in wanted])
        missing = [image for image in wanted if image.name not in there]
        older = [
            image
            for image in wanted
            if image.build and image.name in there and there[image.name].is_older_than(image.build)
        ]
        for image in missing:
            if image.build is None:
                self._pull(image.name, progress)
        if any(image.build for image in missing):
            check_disk(self.engine, int(self.stack.settings["PREFLIGHT_BUILD_DISK_MB"]))
        ours = plan([*missing, *older], there, from_packages=False, fresh=False).steps
        if ours:
            Builder(self.engine, self.home, progress).run(ours)

    def _pull(self, name: str, progress: Progress) -> None:
        progress.begin(name, "pulling")
        try:
            for _ in self.engine.stream("pull", name):
                pass
        except DockerFailed as error:
            progress.end(name, "failed")
            raise PlatformError(
                f"the image {name} is not here, and no registry gives it",
                where="docker pull",
                do="`platform images build --from-packages` makes it without a registry, `platform images load FILE` "
                "takes it from another machine",
                detail=error.detail,
            ) from None
        progress.end(name, "pulled")

    def _start(self, failures: list[DockerFailed]) -> None:
        try:
            self.compose.run("up", "--detach", "--remove-orphans", "--no-build", timeout=UP_SECONDS)
        except DockerFailed as error:
            failures.append(error)

    def _watch(self, progress: Progress, starting: threading.Thread, before: dict[str, Container]) -> None:
        """Tell of each service that becomes healthy, until all are, or waiting does not help."""
        deadline = time.monotonic() + UP_SECONDS
        waiting = {service.name for service in self.stack.started}
        while waiting and time.monotonic() < deadline:
            alive = starting.is_alive()
            found = {container.service: container for container in self.compose.containers()}
            for name in sorted(waiting & set(found)):
                container, old = found[name], before.get(name)
                unchanged = old is not None and old.healthy and old.id == container.id
                if not container.healthy or (unchanged and alive):  # it may be made anew yet
                    continue
                waiting.remove(name)
                if not unchanged:
                    progress.end(name, "done" if container.one_shot else "healthy")
            if not alive and all(name not in found or found[name].failed for name in waiting):
                break
            time.sleep(POLL_SECONDS)
        for name in waiting:
            progress.end(name, "failed")

    def _failed(self, bad: list[Container], failures: list[DockerFailed]) -> PlatformError:
        if not bad:
            return PlatformError(
                "the containers could not be started", where="docker compose", do="read the lines above",
                detail=redact(failures[0].detail, self.stack.secrets),
            )  # fmt: skip
        first, *others = bad
        log = self.compose.run("logs", f"--tail={LOG_LINES}", "--no-log-prefix", first.service).strip()
        what = f"{first.service} ended with exit code {first.code}"
        if not first.ended:
            what = f"{first.service} did not become healthy ({first.check or 'its health check says nothing'})"
        also = "".join(f"\n  and: {other.service}" for other in others)
        return PlatformError(
            what + also,
            where=f"container {first.id[:12]}",
            do=f"read the lines above (`platform logs {first.service}` shows more); the other services keep running",
            detail=redact(log, self.stack.secrets),
        )

    # -- down -------------------------------------------------------------------------------------------------------

    def down(self, progress: Progress) -> None:
        """Stop and remove the containers of every service, and their networks; volumes stay."""
        running = [container.service for container in self._all().containers() if container.state != "exited"]
        for name in running:
            progress.begin(name, "stopping")
        self._all().run("down", "--remove-orphans", timeout=DOWN_SECONDS)
        for name in running:
            progress.end(name, "stopped")

    def purge(self) -> None:
        """Delete the volumes."""
        self._all().run("down", "--remove-orphans", "--volumes", timeout=DOWN_SECONDS)
        mounted.remove_files(self.home)

    def _all(self) -> Compose:
        """With the profiles that are not asked for any more: what was started with them goes too."""
        self.write_files()
        return Compose(self.engine, self.home, ["*"], self._jobs)

    # -- one service ------------------------------------------------------------------------------------------------

    def running(self) -> bool:
        """Whether any service that stays has a container that runs."""
        return self.home.compose_env.exists() and any(c.state == "running" for c in self.compose.containers())

    def restart(self, service: Service, progress: Progress) -> None:
        """Stop a service, start it, and wait until it is healthy; the others run on.

        Raises:
            PlatformError: it did not become healthy in time.
        """
        progress.begin(service.name, "starting")
        self.compose.run("restart", service.name, timeout=DOWN_SECONDS)
        patience = service.healthcheck.patience if service.healthcheck else 10.0
        deadline = time.monotonic() + patience
        while True:
            container = next(c for c in self.compose.containers() if c.service == service.name)
            if container.healthy:
                progress.end(service.name, "healthy")
                return
            if container.failed or time.monotonic() > deadline:
                progress.end(service.name, "failed")
                raise self._failed([container], [])
            time.sleep(POLL_SECONDS)

    def status(self) -> list[ServiceStatus]:
        """How every service that stays is, as the engine's own health checks saw it last."""
        found = {container.service: container for container in self.compose.containers()}
        return [self._status(service, found.get(service.name)) for service in self.stack.running]

    def _status(self, service: Service, container: Container | None) -> ServiceStatus:
        if container is None:
            return ServiceStatus(service.name, "stopped", False, service.url, service.page, None)
        where = service.url, service.page
        detail = "" if container.healthy else container.check
        return ServiceStatus(service.name, container.state, container.healthy, *where, None, detail)

    # -- programs ---------------------------------------------------------------------------------------------------

    def step(self, module: str = STEPS_MODULE, keep: Iterable[str] = (), files: Collection[Path] = ()) -> Program:
        """A container of the steps' service for one call, which sees the caller's directory at its own path. With
        `files` it also sees theirs and the checkout, is the caller, and has a state directory of the caller's."""
        mounted.write_checkout(self.stack, self.home)
        here = Path.cwd()
        shown = {here}
        options = [f"--workdir={here}", f"--env=LOGNAME={getpass.getuser()}"]
        if files:
            state = self.home.root / "steps"
            state.mkdir(mode=0o700, exist_ok=True)
            shown |= {REPO, state, *(file.resolve().parent for file in files)}
            options += [f"--user={os.getuid()}:{os.getgid()}"]
            options += [f"--env=PLATFORM_REPO={REPO}", f"--env=STEP_STATE_DIR={state}"]
        # the engine would make a directory that is not there; and the root is the container's own
        options += [f"--volume={path}:{path}" for path in sorted(shown) if path.is_dir() and path != path.parent]
        # not what lies in the caller's directory, but what is in the image
        command = ("python", "-P", "-m", module)
        return self._container(STEPS_SERVICE, command, options, (k for k in keep if k in os.environ))

    def within(self, service: str, command: Sequence[str], keep: Iterable[str] = ()) -> Program:
        """A container of the service for one call."""
        return self._container(service, command, [], keep)

    def _container(self, service: str, command: Sequence[str], options: list[str], keep: Iterable[str]) -> Program:
        entrypoint = f"{reveal(self.stack.variables['PLATFORM_REPO'])}/compose/with-secrets.sh"
        words = ["run", "--rm", "--no-deps", f"--entrypoint={entrypoint}", *options]
        words += [] if sys.stdin.isatty() and sys.stdout.isatty() else ["--no-TTY"]
        words += [f"--env={name}" for name in keep]
        return Program((self.engine.docker, *self.compose.words, *words, service, *command), dict(os.environ))

    def show_log(self, service: str, lines: int, *, follow: bool) -> NoReturn:
        """Become `docker compose logs`."""
        self.compose.become("logs", f"--tail={lines}", *(["--follow"] if follow else []), service)
