"""`platform models`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.commands.context import open_running
from platform_cli.commands.run import exec_step

app = typer.Typer(
    no_args_is_help=True, help="Versions of models: list, show and compare them, make one champion, go back."
)

Project = Annotated[str, typer.Argument(help="The project, whose name its model has.")]
Version = Annotated[int, typer.Argument(min=1, help="The number of a version.")]
Reason = Annotated[
    str,
    typer.Option("--reason", prompt="Why", help="Why; it is kept with who did it and when. Asked for if not given."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

ACCOUNT = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""Set by a caller who acts as a person with an MLflow account, and not as the one who owns the stack."""


@app.command("list")
def list_versions(
    project: Annotated[str, typer.Argument(help="Only of this project.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Versions of each model.")] = 10,
    as_json: AsJson = False,
) -> None:
    """List the newest versions: aliases, metric, what the gate said, how its release stands."""
    _exec("list", *([project] if project else []), "--limit", str(limit), as_json=as_json)


@app.command("show")
def show(
    project: Project,
    version: Annotated[int | None, typer.Argument(min=1, help="The champion if none is named.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a version: metrics, data, card, its releases, the reports of the monitor."""
    _exec("show", project, *([str(version)] if version else []), as_json=as_json)


@app.command("compare")
def compare(project: Project, first: Version, second: Version, as_json: AsJson = False) -> None:
    """Show what differs between two versions."""
    _exec("compare", project, str(first), str(second), as_json=as_json)


@app.command("promote")
def promote(
    project: Project,
    version: Version,
    reason: Reason,
    force: Annotated[bool, typer.Option("--force", help="Also a version that the gate has refused.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a version champion now; a running release ends."""
    _exec("promote", project, str(version), "--reason", reason, *(["--force"] if force else []), as_json=as_json)


@app.command("rollback")
def rollback(project: Project, reason: Reason, as_json: AsJson = False) -> None:
    """End a running release; without one, make the champion before champion again."""
    _exec("rollback", project, "--reason", reason, as_json=as_json)


def _exec(*arguments: str, as_json: bool) -> None:
    exec_step(open_running(), ["models", *arguments, *(["--json"] if as_json else [])], keep=ACCOUNT)
