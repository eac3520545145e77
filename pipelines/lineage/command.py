"""``python -m pipelines trace`` and ``runs``: what the record says, for people or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from pipelines.environment import Environment
from pipelines.errors import StepError

if TYPE_CHECKING:
    from rich.console import RenderableType

# a table in a file or a pipe is not cut to the width of a terminal that is not there
_PIPE_WIDTH = 200

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("prediction_id")
@_as_json
def trace(prediction_id: str, as_json: bool) -> None:
    """Tell where a prediction comes from: model version, run, commit, snapshot, dbt run, sync, files."""
    from pipelines.lineage.show_trace import screen  # noqa: PLC0415 (MLflow takes a second to import)
    from pipelines.lineage.trace import Trace  # noqa: PLC0415

    with _messages():
        found = Trace(Environment.from_env(), prediction_id).as_json()
        _print(found if as_json else screen(found))


@click.group()
def runs() -> None:
    """List, show and compare pipeline runs."""


@runs.command("list")
@click.argument("project", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many, the newest first.")
@_as_json
def list_runs(project: str | None, limit: int, as_json: bool) -> None:
    """List the newest pipeline runs, of one project or of all."""
    from pipelines.lineage import show_runs  # noqa: PLC0415
    from pipelines.lineage.runs import listed  # noqa: PLC0415

    with _messages():
        found = listed(Environment.from_env(), project, limit)
        _print(found if as_json else show_runs.run_list(found))


@runs.command("show")
@click.argument("run")
@_as_json
def show_run(run: str, as_json: bool) -> None:
    """Show a pipeline run: its steps, given what, and made what. RUN: its id, a part of it, or an MLflow run of it."""
    from pipelines.lineage import show_runs  # noqa: PLC0415
    from pipelines.lineage.runs import described  # noqa: PLC0415

    with _messages():
        found = described(Environment.from_env(), run)
        _print(found if as_json else show_runs.run_description(found))


@runs.command("compare")
@click.argument("first")
@click.argument("second")
@_as_json
def compare_runs(first: str, second: str, as_json: bool) -> None:
    """Show what differs between two pipeline runs: code, parameters, data, figures, durations."""
    from pipelines.lineage import show_runs  # noqa: PLC0415
    from pipelines.lineage.runs import compared  # noqa: PLC0415

    with _messages():
        found = compared(Environment.from_env(), first, second)
        _print(found if as_json else show_runs.run_comparison(found))


@contextmanager
def _messages() -> Iterator[None]:
    """Show a StepError as the message that it is."""
    try:
        yield
    except StepError as error:
        raise click.ClickException(str(error)) from None


def _print(found: RenderableType | dict[str, Any] | list[Any]) -> None:
    if isinstance(found, dict | list):
        click.echo(json.dumps(found, default=_plain, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
    console.print(found)


def _plain(value: Any) -> str:
    """What JSON does not know: moments in ISO 8601, all else as text."""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
