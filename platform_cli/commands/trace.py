"""`platform trace`."""

from __future__ import annotations

from typing import Annotated

import typer

from platform_cli.commands.context import open_running
from platform_cli.commands.run import exec_step


def trace(
    prediction_id: Annotated[str, typer.Argument(help="The `prediction_id` that the model server answered with.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell where a prediction comes from: model version, run, commit, snapshot, dbt run, Airbyte sync, files."""
    exec_step(open_running(), ["trace", prediction_id, *(["--json"] if as_json else [])])
