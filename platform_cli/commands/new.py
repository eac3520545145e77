"""`platform new`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from platform_cli.commands.authoring import exec_offline, exec_with_stack
from platform_cli.home import REPO


class Task(StrEnum):
    """What a model answers with: the probability of a class, or a number."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


def new(  # noqa: PLR0917 (the options of a command)
    name: Annotated[str, typer.Argument(help="The project's name: small letters, digits, underscores.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="A table of the warehouse (schema.table), or a .csv file as they will land."),
    ] = None,
    task: Annotated[Task | None, typer.Option(help="Guessed from the target if not given.")] = None,
    key: Annotated[str | None, typer.Option(help="The column that identifies a row.")] = None,
    event_time: Annotated[
        str | None, typer.Option(help="The column with the time a prediction would be asked for.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column that is to be predicted.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a project that passes its own checks: declaration, training function, dbt models, and with a file its
    Airbyte connection. Nothing is overwritten."""
    options = {"--from": source, "--task": task, "--key": key, "--event-time": event_time, "--target": target}
    words = [word for option, value in options.items() if value for word in (option, str(value))]
    table = Path(source) if source is not None and source.endswith(".csv") else None
    run = exec_with_stack if source is not None and table is None else exec_offline
    files = [REPO / "projects", *([table] if table else [])]
    run(["new", *words, *(["--json"] if as_json else []), "--", name], files)
