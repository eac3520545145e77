"""`platform up`."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Annotated

import typer

from platform_cli.commands.context import make_runtime
from platform_cli.commands.status import services_table
from platform_cli.home import find_home
from platform_cli.local.environments import chosen, environments
from platform_cli.local.preflight import preflight_home, preflight_machine
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import LocalRuntime
from platform_cli.output import err, out
from platform_cli.stack.settings import load_settings, parse_changes, save_settings


def up(
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting for good (compose/settings.env lists them)."),
    ] = None,
) -> None:
    """Install what is missing, start what does not run, wait until all is healthy. Safe to repeat."""
    runtime = bring_up(settings or [])
    out.print(services_table(runtime.status()))
    out.print(
        "Passwords: [bold]platform credentials[/]   The sample: [bold]platform demo[/]   Stop: [bold]platform down[/]"
    )


def bring_up(settings: list[str]) -> LocalRuntime:
    """Bring the stack up, saying what happens on stderr.

    Args:
        settings: `KEY=VALUE` texts to keep in the settings file.

    Raises:
        UsageError: a setting is wrong; nothing was changed.
        PlatformError: the machine is not ready (nothing was changed), or something did not install or start.
    """
    began = time.monotonic()
    runtime = prepare(settings, to_start=True)
    with runtime.home.exclusively(), Progress(err) as progress:
        runtime.up(progress)
    if progress.changed:
        err.print(
            f"The stack is up, after {time.monotonic() - began:.0f} s. All that it keeps is in {runtime.home.root}"
        )
    else:
        err.print("The stack is up already, nothing was changed.")
    return runtime


def prepare(settings: list[str], *, to_start: bool, names: Collection[str] = ()) -> LocalRuntime:
    """Check settings and machine, then make the home and its secrets. Raises what `bring_up` raises.

    Args:
        to_start: also look for what running services need: ports, memory, the service user.
        names: the environments that will be installed; those that every stack has if empty.
    """
    home = find_home()
    changes = parse_changes(settings)
    preflight_home(home)
    checked = load_settings(home, changes)
    missing = sum(not environment.whole() for environment in chosen(environments(home), names).values())
    preflight_machine(checked, home, missing_envs=missing, to_start=to_start)
    home.make()
    if changes:
        save_settings(home, changes)
    return make_runtime(home, create_secrets=True)
