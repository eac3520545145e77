"""`platform run`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from platform_cli.commands.context import open_running
from platform_cli.errors import PlatformError
from platform_cli.local.runtime import LocalRuntime
from platform_cli.local.spec import make_spec
from platform_cli.loop import follow, follow_next, open_airflow, start

STEPS_SERVICE = "pipelines"
LOOP = "loop"


def run(
    context: typer.Context,
    project: Annotated[str, typer.Argument(help="The project: a directory below projects/.")],
    step: Annotated[
        str,
        typer.Argument(help="`loop` for the whole of it through Airflow, or one step here and now: train, monitor, …"),
    ],
) -> None:
    """Run the loop of a project, or one of its steps. What follows STEP goes to the step (`run P STEP --help`)."""
    runtime = open_running()
    if step == LOOP:
        if context.args:
            raise typer.BadParameter(f"loop takes no further arguments, not {' '.join(context.args)}")
        run_loop(runtime, project)
    else:
        exec_step(runtime, [step, project, *context.args])


def run_loop(runtime: LocalRuntime, project: str) -> None:
    """Start the project's ingestion in Airflow, and follow it and the training that its new data starts.

    Raises:
        PlatformError: a task failed; with the end of its log.
    """
    with open_airflow(runtime.stack) as airflow:
        began = datetime.now(UTC)
        follow(airflow, start(airflow, f"{project}__ingest"))
        follow_next(airflow, f"{project}__train", since=began)
        follow(airflow, start(airflow, f"{project}__monitor"))


def step_environment(runtime: LocalRuntime) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a step, as the compose file has them."""
    service = runtime.stack.services[STEPS_SERVICE]
    if not runtime.environments[service.local.env].whole():
        raise PlatformError("the steps' environment is not installed", do="run `platform up`")
    spec = make_spec(service, runtime.stack, runtime.home, as_root=os.geteuid() == 0)
    return list(spec.command), dict(spec.environment)


def exec_step(runtime: LocalRuntime, arguments: list[str], keep: Iterable[str] = ()) -> None:
    """Become a step, in the foreground: its output and its exit code are the command's.

    The variables `keep` are the step's as the caller has set them.
    """
    command, environment = step_environment(runtime)
    environment |= {name: os.environ[name] for name in keep if name in os.environ}
    sys.stdout.flush()
    os.execvpe(command[0], [*command, *arguments], environment)  # noqa: S606


def run_step(runtime: LocalRuntime, arguments: list[str]) -> None:
    """Run a step to its end, without its output.

    Raises:
        PlatformError: it failed; carries what it said.
    """
    command, environment = step_environment(runtime)
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PlatformError(f"{arguments[0]} failed", detail=(done.stdout + done.stderr).strip()[-2000:])
