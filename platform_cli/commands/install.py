"""`platform install`."""

from __future__ import annotations

from platform_cli.commands.up import prepare
from platform_cli.local.progress import Progress
from platform_cli.output import err


def install() -> None:
    """Install the components' environments and start nothing. `up` does this too; this is for preparing a machine."""
    runtime = prepare([], to_start=False)
    with runtime.home.exclusively(), Progress(err) as progress:
        runtime.install(progress)
    err.print("Everything is installed." if progress.changed else "Everything is installed already.")
