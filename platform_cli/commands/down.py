"""`platform down`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.coder.credentials import remove_credentials
from platform_cli.commands.context import open_runtime
from platform_cli.docker.engine import NoEngine
from platform_cli.errors import PlatformError
from platform_cli.home import find_home
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import stop_unordered
from platform_cli.output import err
from platform_cli.runtime import StackRuntime


def down(
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete all data, secrets, settings and environments too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
) -> None:
    """Stop every service. Data stays, unless --purge."""
    home = find_home()
    if not home.root.exists():
        err.print("There is no stack here, so there is nothing to stop.")
        return
    if purge and not yes:
        typer.confirm(f"Delete {home.root} with all models, data and secrets in it?", abort=True, err=True)
    runtime: StackRuntime | None = None
    try:
        runtime = open_runtime()
    except NoEngine:
        raise
    except PlatformError:
        # secrets or settings are gone or wrong: what runs can be stopped all the same, if not in order
        stop_unordered(home)
    else:
        with home.exclusively(), Progress(err) as progress:
            runtime.down(progress)
    err.print("The stack is down.")
    if purge:
        if runtime is not None:
            remove_credentials(runtime)
            runtime.purge()
        home.purge()
        err.print(f"{home.root} is deleted.")
