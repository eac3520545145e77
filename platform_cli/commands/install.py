"""`platform install`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.commands.up import prepare_install
from platform_cli.errors import UsageError
from platform_cli.home import find_home
from platform_cli.local.environments import environments
from platform_cli.local.progress import Progress
from platform_cli.output import err


def install(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…",
            help="Environments: `spark`, `notebooks`, `workspace`, `code-server` are there on demand only.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are there on demand only.")] = False,
) -> None:
    """Install the components' environments and start nothing. `up` does this too, but for those that are on demand."""
    if everything and names:
        raise UsageError("give either names or --all")
    asked = list(environments(find_home())) if everything else names or []
    runtime = prepare_install(asked)
    with runtime.home.exclusively(), Progress(err) as progress:
        runtime.install(progress, asked)
    err.print("Everything is installed." if progress.changed else "Everything is installed already.")
