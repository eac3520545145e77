"""Starts, stops and lists workspaces."""

from __future__ import annotations

import os
import secrets as random
from dataclasses import dataclass, replace

from platform_cli.errors import PlatformError, UsageError
from platform_cli.home import user_exists
from platform_cli.local.processes import port_holders
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import LocalRuntime
from platform_cli.stack.secrets import Secret
from platform_cli.users.environment import workspace_environment
from platform_cli.users.model import check_name
from platform_cli.workspaces.model import Workspace, load, load_all, save
from platform_cli.workspaces.services import ENVIRONMENTS, service_names, with_workspaces, without_workspace


@dataclass(frozen=True)
class WorkspaceStatus:
    """How a workspace is: `stopped`, `running`, or `not healthy`. It has no addresses until it was started once."""

    name: str
    state: str
    jupyterlab: str
    vscode: str
    home: str


def start(runtime: LocalRuntime, name: str, progress: Progress) -> Workspace:
    """Have a person's workspace running, with the credentials that the person has now. What runs already and has not
    changed is left alone.

    Raises:
        UsageError: nobody can have a workspace of this name, or there is no WORKSPACE_USER.
        PlatformError: no port is free, or a program cannot be installed or started; then the workspace is stopped.
    """
    home = runtime.home
    home.make()
    check_name(name)
    _check_user(runtime.stack.settings["WORKSPACE_USER"])
    environment = workspace_environment(runtime, name)
    workspace = replace(_with_ports(runtime, name), environment=environment, on=True)
    runtime = LocalRuntime(with_workspaces(runtime.stack, [workspace], home), home)
    runtime.install(progress, ENVIRONMENTS)
    save(workspace, home)
    try:
        runtime.start(service_names(name), progress)
    except BaseException:
        _stop(runtime, workspace, progress)
        raise
    return workspace


def stop(runtime: LocalRuntime, name: str, progress: Progress) -> None:
    """Stop a person's workspace and everything that runs in it; the home stays. Safe to repeat.

    Raises:
        UsageError: there is no such workspace.
    """
    workspace = find(runtime, name)
    if workspace.on:
        _stop(runtime, workspace, progress)


def find(runtime: LocalRuntime, name: str) -> Workspace:
    """A workspace that was started once.

    Raises:
        UsageError: there is none of this name; lists those there are.
    """
    workspace = load(check_name(name), runtime.home)
    if workspace is None:
        names = ", ".join(other.name for other in load_all(runtime.home))
        there_are = f"there are: {names}" if names else "there are none"
        raise UsageError(f"there is no workspace {name!r}", do=f"`platform workspace start {name}`; {there_are}")
    return workspace


def statuses(runtime: LocalRuntime) -> list[WorkspaceStatus]:
    """How every workspace is that has a home here, by name."""
    health = {entry.service: entry.healthy for entry in runtime.status()}
    known = {workspace.name: workspace for workspace in load_all(runtime.home)}
    homes = {directory.name: directory for directory in sorted(runtime.home.workspaces.glob("*"))}
    found = []
    for name, directory in homes.items():
        workspace = known.get(name)
        state = "stopped"
        if workspace is not None and workspace.on:
            state = "not healthy" if any(health.get(part) is False for part in service_names(name)) else "running"
        urls = (workspace.jupyter_url, workspace.vscode_url) if workspace is not None else ("", "")
        found.append(WorkspaceStatus(name, state, *urls, str(directory)))
    return found


def _check_user(user: str) -> None:
    if os.geteuid() == 0 and not user_exists(user):
        raise UsageError(
            f"there is no user {user} on this machine, whom workspaces run as",
            where="WORKSPACE_USER",
            do="name one that there is: `platform up --set WORKSPACE_USER=…`",
        )


def _stop(runtime: LocalRuntime, workspace: Workspace, progress: Progress) -> None:
    runtime.stop(service_names(workspace.name), progress)
    save(replace(workspace, on=False), runtime.home)
    if runtime.supervisor.running():
        LocalRuntime(without_workspace(runtime.stack, workspace.name), runtime.home).prepare_supervisor()


def _with_ports(runtime: LocalRuntime, name: str) -> Workspace:
    """The workspace as it was, or a new one; one that is off gets other ports if somebody has taken its own."""
    known = load(name, runtime.home)
    if known is not None and known.on:
        return known
    others = {
        port
        for other in load_all(runtime.home)
        if other.name != name
        for port in (other.jupyter_port, other.vscode_port)
    }
    setting = runtime.stack.settings["WORKSPACE_PORTS"]
    first, last = (int(port) for port in setting.split("-"))
    taken = others | {holder.port for holder in port_holders(range(first, last + 1))}
    if known is not None and not {known.jupyter_port, known.vscode_port} & taken:
        return known
    free = [port for port in range(first, last + 1) if port not in taken]
    if len(free) < 2:
        raise PlatformError(
            f"no two ports of {setting} (WORKSPACE_PORTS) are free",
            do="stop a workspace, or `platform up --set WORKSPACE_PORTS=FIRST-LAST`",
        )
    token = known.token if known is not None else Secret(random.token_urlsafe(24))
    return Workspace(name, free[0], free[1], token)
