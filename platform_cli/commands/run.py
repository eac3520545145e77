"""`platform run`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from platform_cli.commands.context import open_running
from platform_cli.errors import PlatformError
from platform_cli.loop import follow, follow_next, open_airflow, start
from platform_cli.runtime import Program, StackRuntime

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


def run_loop(runtime: StackRuntime, project: str) -> None:
    """Start the project's ingestion in Airflow, and follow it and the training that its new data starts.

    Raises:
        PlatformError: a task failed; with the end of its log.
    """
    with open_airflow(runtime.stack) as airflow:
        began = datetime.now(UTC)
        follow(airflow, start(airflow, f"{project}__ingest"))
        follow_next(airflow, f"{project}__train", since=began)
        follow(airflow, start(airflow, f"{project}__monitor"))


def exec_step(
    runtime: StackRuntime, arguments: list[str], keep: Iterable[str] = (), files: Collection[Path] = ()
) -> None:
    """Become a step, in the foreground: its output and its exit code are the command's.

    The variables `keep` are the step's as the caller has set them, `files` those of the caller that it reads or writes.
    """
    become(runtime.step(keep=keep, files=files), arguments)


def become(program: Program, arguments: list[str]) -> None:
    """Become a program."""
    sys.stdout.flush()
    os.execvpe(program.command[0], [*program.command, *arguments], dict(program.environment))  # noqa: S606


def run_step(runtime: StackRuntime, arguments: list[str]) -> None:
    """Run a step to its end, without its output.

    Raises:
        PlatformError: it failed; carries what it said.
    """
    program = runtime.step()
    done = subprocess.run(
        [*program.command, *arguments], env=dict(program.environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise PlatformError(f"{arguments[0]} failed", detail=(done.stdout + done.stderr).strip()[-2000:])
