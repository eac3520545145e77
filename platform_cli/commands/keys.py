"""`platform keys`."""

from __future__ import annotations

import json
import math
from typing import Annotated

import typer
from rich.table import Table

from platform_cli.clients.serving import ModelServer, Refused
from platform_cli.commands.context import open_running
from platform_cli.errors import PlatformError, UsageError
from platform_cli.output import err, out

UNPROCESSABLE, NOT_FOUND, CONFLICT = 422, 404, 409

app = typer.Typer(
    no_args_is_help=True, help="Make, list and revoke the keys of applications that call the model server."
)

Name = Annotated[
    str, typer.Argument(help="Who holds it: lower-case letters, digits, hyphens. Kept with its predictions.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show who holds a key, and what it allows. The keys themselves are known to their holders alone."""
    keys = _server().keys()
    if as_json:
        typer.echo(json.dumps(keys, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("NAME", "MAY", "REQUESTS/S", "MADE"):
        table.add_column(title, no_wrap=True)
    for key in keys:
        rate = "no limit" if key["rate"] is None else f"{key['rate']:g}"
        made = "by `platform up`" if key["builtin"] else key["created"][:19].replace("T", " ") + " UTC"
        table.add_row(key["name"], ", ".join(key["scopes"]), rate, made)
    out.print(table)


@app.command("create")
def create(
    name: Name,
    scope: Annotated[
        list[str], typer.Option("--scope", help="What it allows: predict, feedback, metrics, admin. Repeat for more.")
    ],
    rate: Annotated[
        float | None, typer.Option("--rate", help="Most requests a second; without it there is no limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, alone, so that KEY=$(platform keys create …) holds it. It is shown this once."""
    if rate is not None and not 0 < rate < math.inf:
        raise UsageError(f"--rate: expected a number above 0, got {rate:g}")
    try:
        made = _server().create_key(name, scope, rate)
    except Refused as refused:
        raise _explained(refused) from None
    typer.echo(json.dumps(made, indent=2) if as_json else made["key"])
    limit = "" if made["rate"] is None else f", {made['rate']:g} times a second"
    err.print(f"key {name} may {', '.join(made['scopes'])}{limit}; the server keeps only its hash", highlight=False)
    err.print("  use:   the header 'Authorization: Bearer KEY'", highlight=False)
    err.print(f"  undo:  platform keys revoke {name}", highlight=False)


@app.command("revoke")
def revoke(name: Name, as_json: AsJson = False) -> None:
    """Make a key open nothing any more, within a second. It cannot be brought back; make a new one instead."""
    try:
        _server().revoke_key(name)
    except Refused as refused:
        raise _explained(refused) from None
    if as_json:
        typer.echo(json.dumps({"revoked": name}))
    err.print(f"key {name} is revoked", highlight=False)
    err.print(
        f"  undo:  platform keys create {name} … makes a new one, which its holder has to be given", highlight=False
    )


def _server() -> ModelServer:
    stack = open_running().stack
    return ModelServer(stack.service("serving").url, stack.secrets["SERVING_ADMIN_KEY"])


def _explained(refused: Refused) -> PlatformError:
    """What the server refused, as the error of the call that it is; anything else is a failure."""
    if refused.status in (UNPROCESSABLE, NOT_FOUND):
        return UsageError(refused.message, do="see `platform keys list` and `platform keys create --help`")
    if refused.status == CONFLICT:
        return PlatformError(refused.message)
    return refused
