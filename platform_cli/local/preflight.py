"""Looks at the machine before anything is touched, and says everything that is wrong in one go."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from platform_cli.errors import PlatformError
from platform_cli.home import Home, unreachable_part, user_exists
from platform_cli.local.processes import port_holders, stack_processes
from platform_cli.stack.documents import ports_of_containers

OLDEST_PYTHON = (3, 11)
# the kernel's limit for the path of a unix socket (107), less what the longest one has below the home
LONGEST_HOME = 107 - len("/data/seaweedfs/filer.sock")
MEGABYTE = 1 << 20


def preflight_home(home: Home) -> None:
    """Whether the home can be made at all: Python, path length, write access.

    Raises:
        PlatformError: with every finding.
    """
    _raise(list(_home_findings(home)))


def preflight_machine(settings: Mapping[str, str], home: Home, *, missing_envs: int, to_start: bool) -> None:
    """Whether the stack fits on the machine: disk, memory, ports, the service user. Ports and memory of the stack's
    own processes do not count against it.

    Args:
        missing_envs: how many environments are still to be installed; without any, little disk is needed.
        to_start: whether services will be started; to install, only the disk matters.

    Raises:
        PlatformError: with every finding.
    """
    findings = list(_disk_findings(settings, home, missing_envs))
    if to_start:
        findings += [*_port_findings(settings, home), *_user_findings(settings, home)]
        if not stack_processes(home.root):
            findings += _memory_findings(settings)
    _raise(findings)


def _raise(findings: list[str]) -> None:
    if findings:
        listed = "\n".join(f"  - {finding}" for finding in findings)
        raise PlatformError(f"this machine is not ready; nothing was changed:\n{listed}")


def _home_findings(home: Home) -> Iterator[str]:
    if sys.version_info < OLDEST_PYTHON:
        yield f"Python {sys.version.split()[0]} is too old: 3.11 or newer is needed"
    if len(str(home.root)) > LONGEST_HOME:
        yield (
            f"the path {home.root} is too long for a socket below it: choose a PLATFORM_HOME of at most "
            f"{LONGEST_HOME} characters"
        )
    near = _nearest(home.root)
    if not near.is_dir():
        yield f"{near} is a file, not a directory: choose another PLATFORM_HOME"
    else:
        try:
            # asked by doing it: root is told that it may write even where the file system lets nobody
            with tempfile.TemporaryFile(dir=near):
                pass
        except OSError as error:
            yield (
                f"no write access to {near} ({error.strerror}): change its owner, or set PLATFORM_HOME to a directory "
                "of yours"
            )


def _disk_findings(settings: Mapping[str, str], home: Home, missing_envs: int) -> Iterator[str]:
    key = "PREFLIGHT_INSTALL_DISK_MB" if missing_envs else "PREFLIGHT_RUN_DISK_MB"
    needed = int(settings[key])
    near = _nearest(home.root)
    free = shutil.disk_usage(near).free // MEGABYTE
    if free < needed:
        yield f"{free} MB of disk are free at {near}, {needed} MB are needed ({key}): free some, or move PLATFORM_HOME"


def _memory_findings(settings: Mapping[str, str]) -> Iterator[str]:
    needed = int(settings["PREFLIGHT_MEMORY_MB"])
    lines = Path("/proc/meminfo").read_text().splitlines()
    available = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:"))
    if available < needed:
        yield f"{available} MB of memory are available, {needed} MB are needed (PREFLIGHT_MEMORY_MB): end something"


def _port_findings(settings: Mapping[str, str], home: Home) -> Iterator[str]:
    elsewhere = ports_of_containers()
    keys = {int(value): key for key, value in settings.items() if key.endswith("_PORT") and key not in elsewhere}
    own = {process.pid for process in stack_processes(home.root)}
    for holder in port_holders(keys):
        if holder.pid not in own:
            key = keys[holder.port]
            other = f"`platform up --set {key}=PORT`"
            yield f"port {holder.port} ({key}) is held by {holder}: end it, or take another with {other}"


def _user_findings(settings: Mapping[str, str], home: Home) -> Iterator[str]:
    if os.geteuid() != 0:
        return
    user = settings["SERVICE_USER"]
    if not user_exists(user):
        yield f"there is no user {user} (SERVICE_USER), whom PostgreSQL runs as: name one that exists"
    closed = unreachable_part(home.root)
    if closed is not None:
        yield f"{user} (SERVICE_USER) cannot pass through {closed}: set PLATFORM_HOME to a directory that others reach"


def _nearest(path: Path) -> Path:
    """The path itself, or its nearest parent that exists and may be looked at."""
    return next(parent for parent in [path, *path.parents] if os.access(parent, os.F_OK))
