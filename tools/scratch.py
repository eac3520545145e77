"""A stack of its own for tests and benchmarks: its own PLATFORM_HOME, its own ports, the installed environments.

Standard library only: the tests run inside a component's environment.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
PLATFORM = REPO / ".venv" / "bin" / "platform"
COMMAND_SECONDS = 600
# below the range that the kernel gives to outgoing connections, so that none of those takes one meanwhile
FIRST_PORT, LAST_PORT = 20000, 32000


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, all different."""
    found: list[int] = []
    with ExitStack() as held:
        # two callers at the same time begin far apart
        for port in range(FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT - 1000), LAST_PORT):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError("no free ports")


def port_settings() -> dict[str, str]:
    """Another port for every setting that is one."""
    lines = (REPO / "compose" / "settings.env").read_text().splitlines()
    keys = [line.partition("=")[0] for line in lines if line.partition("=")[0].endswith("_PORT")]
    return dict(zip(keys, map(str, free_ports(len(keys))), strict=True))


class CommandFailed(AssertionError):
    """A `platform` command failed that had to succeed; carries its output."""


@dataclass(frozen=True)
class Stack:
    """A stack at `home`. `settings` are those that differ from the defaults; services, commands and projects are those
    of the `checkout`."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    checkout: Path = REPO

    def platform(
        self, *words: str, check: bool = False, timeout: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run the checkout's `platform` command on this stack, without accounts that this process signed in with.

        Raises:
            CommandFailed: with `check`, if it exits other than 0.
        """
        shell = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        own = {"PLATFORM_HOME": str(self.home), "PYTHONPATH": str(self.checkout), "COLUMNS": "200"}
        done = subprocess.run(
            [str(PLATFORM), *words],
            env=shell | own,
            cwd=self.checkout,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode:
            raise CommandFailed(f"platform {' '.join(words)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def run_step(self, step: str, project: str, *options: str) -> dict[str, Any]:
        """Run a step of the loop and return the JSON object that it prints last."""
        done = self.platform("run", project, step, *options, check=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def credentials(self, service: str) -> dict[str, str]:
        """url, username, and password or token of a service."""
        return dict(json.loads(self.platform("credentials", service, "--json", check=True).stdout)[service])

    def status(self) -> dict[str, dict[str, Any]]:
        """Service → its entry in `platform status --json`."""
        return {entry["service"]: entry for entry in json.loads(self.platform("status", "--json").stdout)}

    @cached_property
    def env(self) -> dict[str, str]:
        """The variables that a step of the loop is given; the stack must have been up."""
        file = self.home / "state" / "services" / "airflow-scheduler.json"
        given = json.loads(file.read_text())["environment"]
        files = (REPO / "compose/pipelines" / name for name in ("step.env", "step.secrets.env"))
        names = [line.partition("=")[0] for file in files for line in file.read_text().splitlines()]
        return {name: given[name] for name in names if name in given}

    def processes(self) -> list[int]:
        """The processes that carry the stack's mark."""
        return processes_with(f"PLATFORM_STACK={self.home}")

    @contextmanager
    def held(self, services: Collection[str]) -> Iterator[None]:
        """Inside the block the processes of these services stand still, and take no time of the processor."""
        held = {pid for name in services for pid in processes_with(f"PLATFORM_SERVICE={name}")} & {*self.processes()}
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in held:
                os.kill(pid, signal.SIGCONT)


def processes_with(variable: str) -> list[int]:
    """The processes that were started with an environment variable (`NAME=value`)."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and variable.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def new_stack(envs: Path) -> Stack:
    """A stack of processes that is not up yet, on the environments that `platform install` has put into `envs`."""
    stack = _new_stack("local")
    (stack.home / "envs").symlink_to(envs)
    return stack


def new_docker_stack() -> Stack:
    """A stack of containers that is not up yet."""
    return _new_stack("docker")


def _new_stack(runtime: str) -> Stack:
    """Its home is a directory that every user reaches, as PostgreSQL needs when root starts it."""
    home = Path(tempfile.mkdtemp(prefix="platform-", dir="/var/tmp"))
    home.chmod(0o711)
    (home / ".platform-home").touch()
    settings = port_settings() | {"RUNTIME": runtime}
    (home / "platform.env").write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return Stack(home, settings)
