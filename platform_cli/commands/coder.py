"""`platform coder`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from platform_cli.coder.client import Coder
from platform_cli.coder.credentials import share_credentials
from platform_cli.coder.people import start_workspace
from platform_cli.coder.provision import SERVICE, is_part_of, provision, sign_in
from platform_cli.commands.context import open_running, open_runtime
from platform_cli.errors import PlatformError
from platform_cli.output import err, out
from platform_cli.runtime import StackRuntime
from platform_cli.stack.model import Service, Stack
from platform_cli.users.environment import workspace_environment

app = typer.Typer(no_args_is_help=True, help="Set up Coder, start people's workspaces in it, and see them.")

Url = Annotated[
    str | None, typer.Option("--url", help="The address of a Coder elsewhere; without it, the stack's own.")
]


@app.command("apply")
def apply(url: Url = None) -> None:
    """Make Coder's first user and push the workspace template, where that is not done yet; for the stack's own
    Coder, `platform up` does it too. Safe to repeat."""
    runtime = open_runtime()
    with runtime.home.exclusively():
        set_up(runtime, url)


@app.command("start")
def start(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    workspace: Annotated[str, typer.Option("--workspace", help="What it is called.")] = "work",
    url: Url = None,
) -> None:
    """Start a person's workspace with the credentials that their programs have now; it is made if there is none. One
    that runs is started again. Prints its address."""
    runtime = open_running()
    stack = runtime.stack
    credentials = workspace_environment(runtime, name)
    if url is None:
        share_credentials(runtime, name, credentials)
        credentials = {}
    with runtime.home.exclusively(), Coder(url or _own(stack).url) as coder:
        sign_in(coder, stack.settings["CODER_ADMIN_EMAIL"], stack.secrets["CODER_ADMIN_PASSWORD"], runtime.home, _say)
        _say(f"starting {name}'s workspace {workspace}")
        start_workspace(coder, name, workspace, credentials)
    out.print(f"{url or _own(stack).page}/@{name}/{workspace}", highlight=False)


@app.command("workspaces")
def workspaces(
    owner: Annotated[str, typer.Option("--owner", help="Only this person's.")] = "",
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the workspaces, whose they are, and how they are."""
    runtime = open_runtime()
    stack = runtime.stack
    with Coder(url or _own(stack).url) as coder:
        sign_in(coder, stack.settings["CODER_ADMIN_EMAIL"], stack.secrets["CODER_ADMIN_PASSWORD"], runtime.home, _say)
        found = coder.workspaces(owner)
    if as_json:
        typer.echo(json.dumps([vars(workspace) for workspace in found], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("OWNER", "WORKSPACE", "LAST", "STATUS", "HEALTHY"):
        table.add_column(title, no_wrap=True)
    for entry in found:
        healthy = "yes" if entry.healthy else "no" if entry.transition == "start" else ""
        table.add_row(entry.owner, entry.name, entry.transition, entry.status, healthy)
    out.print(table)


def set_up(runtime: StackRuntime, url: str | None = None) -> None:
    """What `apply` does, for the Coder at `url`, or the stack's own. Raises PlatformError."""
    with Coder(url or _own(runtime.stack).url) as coder:
        provision(coder, runtime.stack, runtime.home, _say)


def _own(stack: Stack) -> Service:
    if not is_part_of(stack):
        raise PlatformError(
            "this stack has no Coder",
            do="`platform up --set COMPOSE_PROFILES=coder` starts one (with containers), `--url` names one elsewhere",
        )
    return stack.service(SERVICE)


def _say(text: str) -> None:
    err.print(text, highlight=False)
