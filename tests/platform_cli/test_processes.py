from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from platform_cli.local import launch
from platform_cli.local.processes import (
    SERVICE_VARIABLE,
    STACK_VARIABLE,
    alive,
    end,
    own_line,
    port_holders,
    proportional_memory,
    stack_processes,
)

READY = "import sys, time; print('ready', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY


@pytest.fixture
def start(tmp_path: Path) -> Iterator:
    """Starts a Python program that carries the mark of a stack at `tmp_path`, and waits until it runs."""
    started: list[subprocess.Popen] = []

    def run(code: str, service: str = "web") -> subprocess.Popen:
        environment = {STACK_VARIABLE: str(tmp_path), SERVICE_VARIABLE: service}
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_stacks_processes_are_found_by_their_mark(start, tmp_path: Path) -> None:
    process = start(READY, "db")
    assert [(p.pid, p.service) for p in stack_processes(tmp_path)] == [(process.pid, "db")]
    assert stack_processes(tmp_path / "another") == []


def test_a_child_in_a_session_of_its_own_is_found(start, tmp_path: Path) -> None:
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {READY!r}], start_new_session=True).wait()"
    start(code)
    found = stack_processes(tmp_path)
    assert len(found) == 2
    end([process.pid for process in found], grace=5)


def test_end_asks_first_and_kills_what_does_not_listen(start) -> None:
    polite, deaf = start(READY), start(DEAF)
    end([polite.pid, deaf.pid], grace=0.5)
    assert polite.wait() == -signal.SIGTERM
    assert deaf.wait() == -signal.SIGKILL


def test_end_reaches_a_stopped_process(start) -> None:
    process = start(READY)
    os.kill(process.pid, signal.SIGSTOP)
    end([process.pid], grace=5)
    assert process.wait() == -signal.SIGTERM


def test_a_zombie_is_not_alive(start) -> None:
    process = start(READY)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not alive(process.pid)


def test_own_line_has_this_process_and_its_parent() -> None:
    assert {os.getpid(), os.getppid()} <= own_line()


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_who_holds_a_port(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as holder:
        holder.bind((address, 0))
        port = holder.getsockname()[1]
        assert port_holders([port]) == []
        holder.listen()
        (found,) = port_holders([port, port])
    assert (found.port, found.pid) == (port, os.getpid())
    assert f"process {os.getpid()} (" in str(found)


def test_memory_of_a_process() -> None:
    assert proportional_memory(os.getpid()) > 1_000_000
    assert proportional_memory(2**22 + 1) == 0


def test_launch_ends_leftovers_and_becomes_the_service(start, tmp_path: Path) -> None:
    leftover, neighbour = start(READY, "web"), start(READY, "db")
    spec = {
        "service": "web",
        "home": str(tmp_path),
        "command": ["sh", "-c", 'echo "$GREETING $(pwd) $(umask)"'],
        "environment": {"PATH": os.environ["PATH"], "GREETING": "hello", STACK_VARIABLE: str(tmp_path)},
        "directory": str(tmp_path),
        "user": "",
    }
    file = tmp_path / "web.json"
    file.write_text(json.dumps(spec))
    command = [sys.executable, "-I", "-S", str(launch.__file__), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"hello {tmp_path} 0077"
    assert f"ending what an earlier start left: [{leftover.pid}]" in done.stdout
    assert leftover.wait() == -signal.SIGTERM
    assert neighbour.poll() is None
