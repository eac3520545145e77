"""`platform up`."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Annotated

import typer

from platform_cli.coder.provision import is_part_of
from platform_cli.commands import coder
from platform_cli.commands.context import choose_runtime, keep_runtime, make_runtime, open_runtime
from platform_cli.commands.status import services_table
from platform_cli.docker.engine import Engine
from platform_cli.docker.preflight import preflight as preflight_docker
from platform_cli.home import Home, find_home
from platform_cli.local.environments import chosen, environments
from platform_cli.local.preflight import preflight_home, preflight_machine
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import LocalRuntime
from platform_cli.output import err, out
from platform_cli.runtime import StackRuntime
from platform_cli.stack.compose import load_stack
from platform_cli.stack.documents import published_ports
from platform_cli.stack.model import Runtime
from platform_cli.stack.settings import load_settings, parse_changes, save_settings


class Choice(StrEnum):
    """What `--runtime` may be."""

    AUTO = "auto"
    DOCKER = "docker"
    LOCAL = "local"


def up(
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting for good (compose/settings.env lists them)."),
    ] = None,
    kind: Annotated[
        Choice,
        typer.Option("--runtime", help="Containers, native processes, or containers where an engine answers."),
    ] = Choice.AUTO,
) -> None:
    """Install or build what is missing, start what does not run, wait until all is healthy. Safe to repeat."""
    runtime = bring_up(settings or [], kind)
    out.print(services_table(runtime.status()))
    out.print(
        "Passwords: [bold]platform credentials[/]   The sample: [bold]platform demo[/]   Stop: [bold]platform down[/]"
    )


def bring_up(settings: list[str], kind: Choice = Choice.AUTO) -> StackRuntime:
    """Bring the stack up, saying what happens on stderr.

    Args:
        settings: `KEY=VALUE` texts to keep in the settings file.
        kind: the runtime; `auto` leaves it to the setting RUNTIME.

    Raises:
        UsageError: a setting is wrong; nothing was changed.
        PlatformError: the machine is not ready (nothing was changed), or something did not install or start.
    """
    began = time.monotonic()
    runtime = prepare(settings, kind)
    with runtime.home.exclusively():
        with Progress(err) as progress:
            runtime.up(progress)
        if progress.changed:
            err.print(
                f"The stack is up, after {time.monotonic() - began:.0f} s. All that it keeps is in {runtime.home.root}"
            )
        else:
            err.print("The stack is up already, nothing was changed.")
        if is_part_of(runtime.stack):
            coder.set_up(runtime)
    return runtime


def prepare(settings: list[str], kind: Choice) -> StackRuntime:
    """Check settings and machine for the stack to be started, then make the home and its secrets. Raises what
    `bring_up` raises."""
    home = find_home()
    changes = parse_changes(settings)
    preflight_home(home)
    checked = load_settings(home, changes)
    chosen_kind = choose_runtime(home, checked["RUNTIME"] if kind is Choice.AUTO else kind)
    if chosen_kind is Runtime.DOCKER:
        engine = Engine.find()
        running = home.secrets_file.exists() and home.compose_env.exists() and open_runtime().running()
        ports = {key: int(checked[key]) for key in published_ports()}
        preflight_docker(checked, engine, ports, running=running)
    else:
        _preflight_local(checked, home, (), to_start=True)
    home.make()
    if changes:
        save_settings(home, changes)
    keep_runtime(home, chosen_kind)
    return make_runtime(home, chosen_kind, create_secrets=True)


def prepare_install(names: Collection[str]) -> LocalRuntime:
    """The same for an installation that starts nothing: of the environments of these names, or of those that every
    stack has if there are none."""
    home = find_home()
    preflight_home(home)
    _preflight_local(load_settings(home), home, names, to_start=False)
    home.make()
    return LocalRuntime(load_stack(home, create_secrets=True), home)


def _preflight_local(settings: Mapping[str, str], home: Home, names: Collection[str], *, to_start: bool) -> None:
    missing = sum(not environment.whole() for environment in chosen(environments(home), names).values())
    preflight_machine(settings, home, missing_envs=missing, to_start=to_start)
