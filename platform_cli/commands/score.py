"""`platform score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from platform_cli.commands.context import open_running
from platform_cli.commands.run import exec_step


def score(
    project: Annotated[str, typer.Argument(help="The project whose model scores.")],
    *,
    source: Annotated[str, typer.Option("--from", metavar="TABLE|FILE", help="schema.table, or a .parquet or .csv.")],
    target: Annotated[str, typer.Option("--to", metavar="TABLE|FILE", help="schema.table, or a .parquet or .csv.")],
    version: Annotated[int | None, typer.Option(help="The version; the champion if none is given.")] = None,
    alias: Annotated[str | None, typer.Option(help="The alias of the version: champion, canary, shadow.")] = None,
    engine: Annotated[str | None, typer.Option(help="local or spark; as declared if not given.")] = None,
) -> None:
    """Score every row of a table or a file. Safe to repeat: nothing is scored twice, and a call after a crash goes on
    where it stopped."""
    options = {"--version": version, "--alias": alias, "--engine": engine}
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    files = [Path(name) for name in (source, target) if name.endswith((".parquet", ".csv"))]
    words = ["score", project, "--from", source, "--to", target, *given]
    # Spark starts the Java that this names
    exec_step(open_running(), words, keep=["JAVA_HOME"], files=files)
