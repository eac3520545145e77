"""`platform runs`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.commands.context import open_running
from platform_cli.commands.run import exec_step

app = typer.Typer(no_args_is_help=True, help="List, show and compare pipeline runs: who, when, with what, what came.")

Run = Annotated[str, typer.Argument(help="The id of a pipeline run, a part of it, or an MLflow run of it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_runs(
    project: Annotated[str, typer.Argument(help="Only of this project.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the newest pipeline runs with the state of every step."""
    _exec("list", *([project] if project else []), "--limit", str(limit), as_json=as_json)


@app.command("show")
def show(run: Run, as_json: AsJson = False) -> None:
    """Show a pipeline run: what started it, its steps with times, parameters and artifacts, the versions."""
    _exec("show", run, as_json=as_json)


@app.command("compare")
def compare(first: Run, second: Run, as_json: AsJson = False) -> None:
    """Show what differs between two pipeline runs."""
    _exec("compare", first, second, as_json=as_json)


def _exec(*arguments: str, as_json: bool) -> None:
    exec_step(open_running(), ["runs", *arguments, *(["--json"] if as_json else [])])
