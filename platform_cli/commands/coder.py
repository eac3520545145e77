"""`platform coder`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from platform_cli.coder.client import Coder
from platform_cli.coder.provision import provision, sign_in
from platform_cli.errors import PlatformError
from platform_cli.home import Home, find_home
from platform_cli.output import err, out
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Stack

app = typer.Typer(no_args_is_help=True, help="Set up Coder, and see the workspaces in it.")

Url = Annotated[str | None, typer.Option("--url", help="Coder's address; without it, the setting CODER_URL.")]


@app.command("apply")
def apply(url: Url = None) -> None:
    """Make Coder's first user and push the workspace template, where that is not done yet. Safe to repeat."""
    stack, home = _stack()
    with home.exclusively(), Coder(url or stack.settings["CODER_URL"]) as coder:
        provision(coder, stack, home, _say)


@app.command("workspaces")
def workspaces(
    owner: Annotated[str, typer.Option("--owner", help="Only this person's.")] = "",
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the workspaces, whose they are, and how they are."""
    stack, home = _stack()
    with Coder(url or stack.settings["CODER_URL"]) as coder:
        sign_in(coder, stack.settings["CODER_ADMIN_EMAIL"], stack.secrets["CODER_ADMIN_PASSWORD"], home, _say)
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


def _stack() -> tuple[Stack, Home]:
    home = find_home()
    if not home.secrets_file.exists():
        raise PlatformError("there is no stack here yet", where=str(home.root), do="run `platform up`")
    return load_stack(home, create_secrets=False), home


def _say(text: str) -> None:
    err.print(text, highlight=False)
