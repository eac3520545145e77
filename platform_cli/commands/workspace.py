"""`platform workspace`."""

from __future__ import annotations

import json
import os
import webbrowser
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from platform_cli.commands.context import open_running, open_runtime
from platform_cli.errors import PlatformError, UsageError
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import LocalRuntime
from platform_cli.output import err, out
from platform_cli.runtime import StackRuntime
from platform_cli.workspaces import run
from platform_cli.workspaces.model import Workspace
from platform_cli.workspaces.services import VSCODE

app = typer.Typer(
    no_args_is_help=True,
    help="JupyterLab and VS Code for a person, with MLflow, the warehouse and the model server at hand and that "
    "person's own credentials. Each workspace has a home of its own, which stays when it is stopped; one that runs "
    "is one of the stack's services: `down` stops it, the next `up` starts it again. docs/workspaces.md tells more.",
)

Name = Annotated[str, typer.Argument(help="Whose it is.")]


@app.command("start")
def start(name: Name) -> None:
    """Start a person's workspace, and print how to open it. Safe to repeat: takes new credentials over."""
    runtime = _local(open_running())
    _tell_who_could_read(runtime)
    with runtime.home.exclusively(), Progress(err) as progress:
        workspace = run.start(runtime, name, progress)
    _print_addresses(runtime, workspace)


@app.command("stop")
def stop(name: Name) -> None:
    """Stop a person's workspace and what runs in it. The home stays."""
    runtime = _local(open_runtime())
    with runtime.home.exclusively(), Progress(err) as progress:
        run.stop(runtime, name, progress)
    err.print(f"The workspace {name} is stopped; its home is {runtime.home.workspaces / name}", highlight=False)


@app.command("list")
def list_workspaces(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the workspaces, and how they are."""
    found = run.statuses(_local(open_runtime()))
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in found], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("NAME", "STATE", "JUPYTERLAB", "VS CODE", "HOME"):
        table.add_column(title, no_wrap=True)
    for entry in found:
        table.add_row(entry.name, entry.state, entry.jupyterlab, entry.vscode, entry.home)
    out.print(table)


@app.command("open")
def open_workspace(name: Name) -> None:
    """Open a person's JupyterLab in the browser, and print the addresses, with what signs in."""
    runtime = _local(open_running())
    workspace = run.find(runtime, name)
    if not workspace.on:
        raise PlatformError(f"the workspace {name} is not running", do=f"`platform workspace start {name}`")
    address = _print_addresses(runtime, workspace)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)


def _local(runtime: StackRuntime) -> LocalRuntime:
    if isinstance(runtime, LocalRuntime):
        return runtime
    raise UsageError(
        "with containers, workspaces are Coder's",
        where=str(runtime.home.root),
        do="`platform coder start NAME` starts one, docs/coder.md",
    )


def _print_addresses(runtime: LocalRuntime, workspace: Workspace) -> str:
    token = workspace.token.reveal()
    jupyterlab = f"{workspace.jupyter_url}/lab?token={token}"
    out.print(f"JupyterLab  {jupyterlab}", highlight=False)
    if runtime.environments[VSCODE].whole():
        out.print(f"VS Code     {workspace.vscode_url}   password {token}", highlight=False)
    else:
        log = runtime.home.log_of(f"install-{VSCODE}")
        err.print(f"VS Code could not be installed: {log} says why", highlight=False)
    return jupyterlab


def _tell_who_could_read(runtime: LocalRuntime) -> None:
    settings = runtime.stack.settings
    if os.geteuid() == 0 and settings["WORKSPACE_USER"] == settings["SERVICE_USER"]:
        err.print(
            f"{settings['WORKSPACE_USER']} runs workspaces and PostgreSQL, so whoever works in one could read the "
            "database's files; `platform up --set WORKSPACE_USER=…` names another account",
            highlight=False,
        )
