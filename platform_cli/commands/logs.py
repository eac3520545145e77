"""`platform logs`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.commands.context import open_runtime
from platform_cli.errors import UsageError


def logs(
    service: Annotated[
        str, typer.Argument(help="The service, as `platform status` names it, or a one-time step of `up`.")
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 100,
) -> None:
    """Show the log of a service."""
    runtime = open_runtime()
    names = sorted(service.name for service in runtime.stack.started)
    if service not in names:
        raise UsageError(f"there is no service {service!r}", do=f"the services are: {', '.join(names)}")
    runtime.show_log(service, lines, follow=follow)
