"""supervisord: its configuration, its start, and its XML-RPC interface on a unix socket."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.local.processes import SERVICE_VARIABLE, STACK_VARIABLE, end, own_line, stack_processes
from platform_cli.stack.model import Service

LAUNCHER = Path(__file__).with_name("launch.py")
SUPERVISOR = "supervisord"
STOP_GRACE = 10.0
# the states in which supervisord has given up or was told to stop
DOWN = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN", "ABSENT"})

# fault codes of its XML-RPC interface (supervisor.xmlrpc.Faults)
_SHUTTING_DOWN, _BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING, _ALREADY_ADDED = 6, 10, 60, 70, 90


@dataclass(frozen=True)
class ProgramState:
    """What supervisord says of a program. `started` is in seconds since the epoch, 0 if it never ran."""

    name: str
    state: str
    pid: int
    started: int
    reason: str


def configuration(home: Home, services: Iterable[Service]) -> str:
    """supervisord's configuration for the services that stay. No secret is in it: `launch` reads those itself."""
    lines = [
        "[unix_http_server]",
        f"file={_escaped(home.socket)}",
        "chmod=0700",
        "[supervisord]",
        f"logfile={_escaped(home.logs / 'supervisord.log')}",
        f"pidfile={_escaped(home.run / 'supervisord.pid')}",
        f"childlogdir={_escaped(home.logs)}",
        "umask=077",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for service in services:
        spec = spec_file(home, service.name)
        lines += [
            f"[program:{service.name}]",
            f'command="{_escaped(sys.executable)}" -I -S "{_escaped(LAUNCHER)}" "{_escaped(spec)}"',
            "autostart=false",
            "autorestart=true",
            "startsecs=1",
            "startretries=3",
            f"stopwaitsecs={int(service.stop_grace)}",
            "stopasgroup=true",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_escaped(home.log_of(service.name))}",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=2",
        ]
    return "\n".join(lines) + "\n"


def _escaped(path: object) -> str:
    return str(path).replace("%", "%%")


def spec_file(home: Home, service: str) -> Path:
    """Where the specification of a service's start is kept."""
    return home.state / "services" / f"{service}.json"


class Supervisor:
    """The supervisord of one stack. Safe to use from several threads: each call has a connection of its own."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @property
    def config_file(self) -> Path:
        return self._home.state / "supervisord.conf"

    def running(self) -> bool:
        """Whether supervisord answers on its socket; it does until the end of its shutdown."""
        try:
            self._call("getState", tolerate=(_SHUTTING_DOWN,))
        except (OSError, http.client.HTTPException):
            return False
        return True

    def start(self) -> None:
        """Start supervisord in the background and wait until it answers.

        Raises:
            PlatformError: it ended or did not answer in 10 s; carries its output.
        """
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            STACK_VARIABLE: str(self._home.root),
            SERVICE_VARIABLE: SUPERVISOR,
        }
        command = [str(Path(sys.executable).with_name("supervisord")), "-c", str(self.config_file)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, cwd="/", stdin=subprocess.DEVNULL, check=False
        )
        deadline = time.monotonic() + 10
        while done.returncode == 0 and time.monotonic() < deadline:
            if self.running():
                return
            time.sleep(0.05)
        raise PlatformError(
            "supervisord did not start",
            where=str(self._home.logs / "supervisord.log"),
            do="read its output above",
            detail=(done.stdout + done.stderr).strip(),
        )

    def reload(self) -> None:
        """Read the configuration again: take programs in that are new and take out those that are gone, stopping only
        these."""
        added, changed, removed = self._call("reloadConfig")[0]
        for name in [*changed, *removed]:
            self.stop(name)
            self._call("removeProcessGroup", name)
        for name in [*added, *changed]:
            self._call("addProcessGroup", name, tolerate=(_ALREADY_ADDED,))

    def start_program(self, name: str) -> None:
        """Start a program, or do nothing if it runs."""
        self._call("startProcess", name, False, tolerate=(_ALREADY_STARTED,))

    def stop(self, name: str) -> None:
        """Stop a program and wait until it is gone."""
        self._call("stopProcess", name, True, tolerate=(_NOT_RUNNING, _BAD_NAME))

    def stop_wholly(self, name: str) -> None:
        """Stop a program, and end what it left outside its process group or when it was killed."""
        self.stop(name)
        line = own_line()
        left = [p.pid for p in stack_processes(self._home.root) if p.service == name and p.pid not in line]
        end(left, grace=STOP_GRACE)

    def stop_all(self) -> None:
        """Stop all programs side by side and wait until they are gone."""
        self._call("stopAllProcesses", True, tolerate=(_SHUTTING_DOWN,))

    def shutdown(self) -> None:
        """End supervisord itself and wait until its socket is dead."""
        self._call("shutdown", tolerate=(_SHUTTING_DOWN,))
        deadline = time.monotonic() + 10
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.05)

    def states(self) -> dict[str, ProgramState]:
        """The state of every program; empty if supervisord does not run."""
        try:
            infos = self._call("getAllProcessInfo")
        except (OSError, http.client.HTTPException):
            return {}
        return {i["name"]: ProgramState(i["name"], i["statename"], i["pid"], i["start"], i["spawnerr"]) for i in infos}

    def _call(self, method: str, *arguments: object, tolerate: tuple[int, ...] = ()) -> Any:
        proxy = xmlrpc.client.ServerProxy("http://supervisor", transport=_UnixTransport(self._home.socket))
        try:
            return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in tolerate:
                return None
            raise PlatformError(f"supervisord refused {method}: {fault.faultString}") from None


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ARG002 - the base class names it
        return _UnixConnection(self._path)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("supervisor", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
