"""``python -m pipelines trace`` and ``runs``: what the record says, for people or as JSON."""

from __future__ import annotations

import click

from pipelines.console import messages, show
from pipelines.environment import Environment

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("prediction_id")
@_as_json
def trace(prediction_id: str, as_json: bool) -> None:
    """Tell where a prediction comes from: model version, run, commit, snapshot, dbt run, sync, files."""
    from pipelines.lineage.show_trace import screen  # noqa: PLC0415 (MLflow takes a second to import)
    from pipelines.lineage.trace import Trace  # noqa: PLC0415

    with messages():
        found = Trace(Environment.from_env(), prediction_id).as_json()
        show(found if as_json else screen(found))


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

    with messages():
        found = listed(Environment.from_env(), project, limit)
        show(found if as_json else show_runs.run_list(found))


@runs.command("show")
@click.argument("run")
@_as_json
def show_run(run: str, as_json: bool) -> None:
    """Show a pipeline run: its steps, given what, and made what. RUN: its id, a part of it, or an MLflow run of it."""
    from pipelines.lineage import show_runs  # noqa: PLC0415
    from pipelines.lineage.runs import described  # noqa: PLC0415

    with messages():
        found = described(Environment.from_env(), run)
        show(found if as_json else show_runs.run_description(found))


@runs.command("compare")
@click.argument("first")
@click.argument("second")
@_as_json
def compare_runs(first: str, second: str, as_json: bool) -> None:
    """Show what differs between two pipeline runs: code, parameters, data, figures, durations."""
    from pipelines.lineage import show_runs  # noqa: PLC0415
    from pipelines.lineage.runs import compared  # noqa: PLC0415

    with messages():
        found = compared(Environment.from_env(), first, second)
        show(found if as_json else show_runs.run_comparison(found))
