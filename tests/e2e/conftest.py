"""A real stack for the tests: its own PLATFORM_HOME, its own ports, up once for all of them, down at the end."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
PLATFORM = REPO / ".venv" / "bin" / "platform"
# the environments that `platform install` has made; a stack of the tests uses the same
ENVS = Path(os.environ["PLATFORM_TEST_ENVS"])
UP_SECONDS = 300


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on, all different. Below the range that the kernel gives to outgoing
    connections, so that none of those takes one meanwhile."""
    found: list[int] = []
    with ExitStack() as held:
        for port in range(20000 + os.getpid() % 4000, 32000):
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


@dataclass(frozen=True)
class Stack:
    """A stack that a test may use, and break if it mends it."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)

    def platform(
        self, *words: str, check: bool = False, timeout: float = UP_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run the `platform` command on this stack."""
        environment = os.environ | {"PLATFORM_HOME": str(self.home), "COLUMNS": "200"}
        done = subprocess.run(
            [str(PLATFORM), *words],
            env=environment,
            cwd=REPO,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"platform {' '.join(words)} exited {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def run_step(self, step: str, project: str, *options: str) -> dict[str, Any]:
        """Run a step and return the JSON object that it prints last."""
        done = self.platform("run", project, step, *options, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    def credentials(self, service: str) -> dict[str, str]:
        """url, username, password or token of a service."""
        return json.loads(self.platform("credentials", service, "--json", check=True).stdout)[service]

    def status(self) -> dict[str, dict[str, Any]]:
        """Service → its entry in `platform status --json`."""
        return {entry["service"]: entry for entry in json.loads(self.platform("status", "--json").stdout)}

    def await_healthy(self) -> None:
        """Have everything healthy, as `platform up` does."""
        self.platform("up", check=True)

    @cached_property
    def env(self) -> dict[str, str]:
        """The variables that a step of the loop is given."""
        services = self.home / "state" / "services"
        scheduler = json.loads((services / "airflow-scheduler.json").read_text())["environment"]
        names = [line.partition("=")[0] for line in (REPO / "compose/pipelines/step.env").read_text().splitlines()]
        return {name: scheduler[name] for name in names if name in scheduler}


def make_home() -> Path:
    """A directory that every user reaches, as PostgreSQL needs when the tests run as root."""
    home = Path(tempfile.mkdtemp(prefix="platform-test-", dir="/var/tmp"))
    home.chmod(0o711)
    (home / "envs").symlink_to(ENVS)
    (home / ".platform-home").touch()
    return home


def new_stack() -> Stack:
    """A stack that is not up yet."""
    stack = Stack(make_home(), port_settings())
    (stack.home / "platform.env").write_text("".join(f"{key}={value}\n" for key, value in stack.settings.items()))
    return stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack that most tests share."""
    made = new_stack()
    try:
        made.platform("up", check=True)
        yield made
    finally:
        made.platform("down", "--purge", "--yes", check=True)


@pytest.fixture
def bare_stack() -> Iterator[Stack]:
    """A stack of the test's own that is not up."""
    made = new_stack()
    try:
        yield made
    finally:
        made.platform("down", "--purge", "--yes")
