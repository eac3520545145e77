"""`platform credentials`."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from platform_cli.commands.context import open_runtime
from platform_cli.errors import UsageError
from platform_cli.output import out
from platform_cli.stack.model import Stack
from platform_cli.stack.secrets import reveal


def credentials(
    service: Annotated[str | None, typer.Argument(help="Only this service.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    token: Annotated[bool, typer.Option("--token", help="Print only the password or token, for a script.")] = False,
) -> None:
    """Show how to sign in to each service. The passwords are yours alone: they were made on the first `up`."""
    shown = credentials_of(open_runtime().stack)
    if service is not None and service not in shown:
        raise UsageError(f"there are no credentials for {service!r}", do=f"there are for: {', '.join(shown)}")
    if service is not None:
        shown = {service: shown[service]}
    if token:
        if len(shown) != 1:
            raise UsageError("--token needs the name of a service", do=f"name one of: {', '.join(shown)}")
        typer.echo(next(entry.get("token") or entry["password"] for entry in shown.values()))
        return
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("SERVICE", "ADDRESS", "USER", "PASSWORD OR TOKEN"):
        table.add_column(title, no_wrap=True)
    for name, entry in shown.items():
        table.add_row(name, entry["url"], entry.get("username", ""), entry.get("password") or entry.get("token", ""))
    out.print(table)


def credentials_of(stack: Stack) -> dict[str, dict[str, str]]:
    """Service → url, username, and password or token, in the clear."""
    return {
        service.name: {"url": service.url} | {k: reveal(v) for k, v in service.credentials.items()}
        for service in stack.running
        if service.credentials
    }
