"""`platform open`."""

from __future__ import annotations

import os
import webbrowser
from typing import Annotated

import typer

from platform_cli.commands.context import open_running
from platform_cli.errors import UsageError
from platform_cli.output import out


def open_service(service: Annotated[str, typer.Argument(help="The service, as `platform status` names it.")]) -> None:
    """Open a service's page in the browser, or print its address where there is no screen."""
    runtime = open_running()
    pages = {entry.name: entry.url for entry in runtime.stack.running if entry.url.startswith("http")}
    if service not in pages:
        raise UsageError(f"{service!r} has no page", do=f"these have: {', '.join(pages)}")
    out.print(f"{pages[service]}   (sign in: platform credentials {service})", highlight=False)
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(pages[service])
