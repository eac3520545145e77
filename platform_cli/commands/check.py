"""`platform check`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.commands.authoring import exec_offline


def check(
    project: Annotated[str | None, typer.Argument(help="The project; all of them if none is given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a project without any service, in seconds: declaration, connections, SQL, entry point, features against the
    mart's contract, DAGs. Exit code 1 if something is wrong."""
    exec_offline(["check", *(["--json"] if as_json else []), *(["--", project] if project else [])])
