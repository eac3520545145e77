"""`platform restart`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.commands.context import open_running
from platform_cli.local.progress import Progress
from platform_cli.output import err


def restart(service: Annotated[str, typer.Argument(help="The service, as `platform status` names it.")]) -> None:
    """Stop one service, start it and wait until it is healthy. The others run on."""
    runtime = open_running()
    named = runtime.stack.service(service)
    with runtime.home.exclusively(), Progress(err) as progress:
        runtime.restart(named, progress)
