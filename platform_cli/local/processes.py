"""Processes of this machine, read from /proc: which belong to a stack, and who holds a port.

Every process of a stack carries two variables in its environment, and so do the processes it starts. That finds what
supervisord cannot: children in a session of their own, and children whose parent was killed. Standard library only,
since `launch` runs with nothing else.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

STACK_VARIABLE = "PLATFORM_STACK"
SERVICE_VARIABLE = "PLATFORM_SERVICE"
_LISTEN = "0A"
_PROC = Path("/proc")


@dataclass(frozen=True)
class StackProcess:
    """A live process that a stack started, directly or not."""

    pid: int
    service: str


def stack_processes(home: Path) -> list[StackProcess]:
    """The live processes of the stack at `home`, zombies left out. Processes whose environment this user may not
    read are not seen."""
    found = []
    wanted = f"{STACK_VARIABLE}={home}".encode()
    prefix = f"{SERVICE_VARIABLE}=".encode()
    for pid in _pids():
        try:
            variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables and not _is_zombie(pid):
            service = next((v.removeprefix(prefix).decode() for v in variables if v.startswith(prefix)), "")
            found.append(StackProcess(pid, service))
    return found


def end(pids: Iterable[int], *, grace: float) -> None:
    """Ask processes to end, wait up to `grace` seconds, then kill those that are left and wait for them to be gone."""
    waiting = set(pids)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in list(waiting):
            try:
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)  # a stopped process gets SIGTERM only once it runs again
            except ProcessLookupError:
                waiting.discard(pid)
        deadline = time.monotonic() + grace
        while waiting and time.monotonic() < deadline:
            waiting = {pid for pid in waiting if alive(pid)}
            time.sleep(0.02)
        if not waiting:
            return


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    return (_PROC / str(pid)).exists() and not _is_zombie(pid)


def own_line() -> set[int]:
    """This process and its ancestors."""
    line, pid = set(), os.getpid()
    while pid > 0 and pid not in line:
        line.add(pid)
        pid = _stat(pid)[1]
    return line


@dataclass(frozen=True)
class PortHolder:
    """Who listens on a port. `pid` is None if it belongs to another user, whose processes we may not look into."""

    port: int
    pid: int | None
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})" if self.pid else "a process of another user"


def port_holders(ports: Iterable[int]) -> list[PortHolder]:
    """Those of `ports` that a process of this machine listens on, on any address."""
    sockets = _listening_sockets()
    held = {sockets[port]: port for port in set(ports) if port in sockets}
    owners = _socket_owners(set(held))
    return [
        PortHolder(port, owners.get(inode), _command(owners[inode]) if inode in owners else "")
        for inode, port in sorted(held.items(), key=lambda item: item[1])
    ]


def proportional_memory(pid: int) -> int:
    """Memory of a process in bytes, shared pages counted in proportion (PSS); 0 if it is gone."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(_PROC) if entry.isdecimal()]  # noqa: PTH208 - Path.iterdir is slower


def _stat(pid: int) -> tuple[str, int]:
    """State letter and parent of a process; ('', 0) if it is gone."""
    try:
        # the name in parentheses may itself hold blanks and parentheses
        fields = (_PROC / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[1])


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[0] in ("Z", "X", "")


def _listening_sockets() -> dict[int, str]:
    """Port → inode of the sockets that listen on TCP."""
    sockets: dict[int, str] = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN:
                sockets[int(fields[1].rsplit(":", 1)[1], 16)] = fields[9]
    return sockets


def _socket_owners(inodes: set[str]) -> dict[str, int]:
    """Inode → pid, for those sockets whose process this user may look into."""
    owners: dict[str, int] = {}
    for pid in _pids() if inodes else []:
        try:
            links = [str(Path(entry.path).readlink()) for entry in os.scandir(_PROC / str(pid) / "fd")]
        except OSError:
            continue
        for link in links:
            inode = link.removeprefix("socket:[").removesuffix("]")
            if inode in inodes:
                owners.setdefault(inode, pid)
    return owners


def _command(pid: int) -> str:
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    return " ".join(words).strip()[:60]
