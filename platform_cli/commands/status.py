"""`platform status`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from platform_cli.commands.context import open_runtime
from platform_cli.output import out
from platform_cli.runtime import ServiceStatus


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list instead of a table.")] = False,
) -> None:
    """Show every service: whether it runs, whether it is healthy, where it is. Exits 1 unless all are healthy."""
    statuses = open_runtime().status()
    if as_json:
        typer.echo(json.dumps([asdict(entry) for entry in statuses], indent=2))
    else:
        out.print(services_table(statuses))
    if any(entry.healthy is False for entry in statuses):
        raise typer.Exit(1)


def services_table(statuses: Sequence[ServiceStatus]) -> Table:
    """The services as a table for people."""
    table = Table(box=None, pad_edge=False)
    for title in ("SERVICE", "STATE", "HEALTH", "ADDRESS", ""):
        table.add_column(title, no_wrap=title != "")
    words = {True: "[green]healthy[/]", False: "[red]not healthy[/]", None: "[yellow]not there[/]"}
    for entry in statuses:
        table.add_row(entry.service, entry.state, words[entry.healthy], entry.url, entry.detail)
    return table
