"""`platform test`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.commands.authoring import exec_with_stack
from platform_cli.commands.context import open_running
from platform_cli.home import REPO
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import LocalRuntime
from platform_cli.output import err

NOTEBOOKS = "notebooks"


def test(
    project: Annotated[str, typer.Argument(help="The project: a directory below projects/.")],
    share: Annotated[
        float, typer.Option(min=0.001, max=1, help="How much of the rows (at least 2,000 are taken).")
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Take a project once through the whole loop on a sample, with one iteration, in a scratch schema; notebooks too.
    Nothing is registered, and nothing is left, however it ends."""
    if any((REPO / "projects" / project / NOTEBOOKS).glob("*.ipynb")):
        runtime = open_running()
        if isinstance(runtime, LocalRuntime) and not runtime.environments[NOTEBOOKS].whole():
            with runtime.home.exclusively(), Progress(err) as progress:
                runtime.install(progress, [NOTEBOOKS])
    exec_with_stack(["test", "--share", str(share), *(["--json"] if as_json else []), "--", project])
