"""``python -m pipelines.authoring new|check|test``: what `platform new`, `platform check` and `platform test` start."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from pipelines.errors import StepError
from pipelines.process import run_briefly

DEBUG = click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else on stdout.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Make a project, check it, try it."""


@contextmanager
def _one_message(debug: bool) -> Iterator[None]:
    """A failure that a person can mend ends as one message, without a traceback."""
    try:
        yield
    except StepError as error:
        if debug:
            traceback.print_exc()
        raise click.ClickException(str(error)) from None


def _repo() -> Path:
    return Path(os.environ["PLATFORM_REPO"])


@cli.command("new")
@click.argument("name")
@click.option("--from", "source", help="A table of the warehouse (schema.table), or a file (….csv) as they will land.")
@click.option(
    "--task", type=click.Choice(["classification", "regression"]), help="Guessed from the target if not given."
)
@click.option("--key", help="The column that identifies a row.")
@click.option("--event-time", "time", help="The column that says when a prediction would be asked for.")
@click.option("--target", help="The column that is to be predicted.")
@JSON
@DEBUG
def new_command(as_json: bool, debug: bool, **wish: str) -> None:
    """Make the project NAME: declaration, training function, dbt models with contract and tests."""
    from pipelines.authoring import new  # noqa: PLC0415 (each command pays for its own imports only)

    with _one_message(debug):
        made = new.run(_repo(), new.Wish(**wish))  # type: ignore[arg-type]
    if as_json:
        print(json.dumps(made))
        return
    console = Console(soft_wrap=True, highlight=False)
    for note in made["notes"]:
        console.print(escape(f"  {note}"))
    for file in made["files"]:
        console.print(f"  [green]+[/] {escape(file)}")
    name = made["project"]
    console.print(f"\nNext: read projects/{name}/project.yaml, then\n  platform check {name}\n  platform test {name}")


@cli.command("check")
@click.argument("project", required=False)
@JSON
@DEBUG
def check_command(project: str | None, as_json: bool, debug: bool) -> None:
    """Check PROJECT, or every project, without any service: declaration, SQL, features, entry point, DAGs."""
    from pipelines.authoring import check  # noqa: PLC0415

    began = time.perf_counter()
    with _one_message(debug):
        found = check.run(_repo(), Path(os.environ["ENVS_DIR"]), project)
    passed = all(item.passed for item in found)
    if as_json:
        print(json.dumps({"passed": passed, "projects": {item.project: item.parts for item in found}}))
    else:
        _show(found)
        count = sum(len(problems) for item in found for problems in item.parts.values())
        verdict = "all in order" if passed else f"{count} to be corrected"
        Console(highlight=False).print(f"\n{verdict} ({time.perf_counter() - began:.1f} s)")
    sys.exit(0 if passed else 1)


def _show(found: list) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if not found:
        console.print("there is no project yet: `platform new NAME` makes one")
    for item in found:
        console.print(f"[bold]{item.project}[/]")
        for part, problems in item.parts.items():
            note = item.notes.get(part, "")
            console.print(
                f"  [{'red]✗' if problems else 'green]✓'}[/] {part}" + (f"  [dim]{escape(note)}[/]" if note else "")
            )
            for problem in problems:
                console.print("      " + escape(problem).replace("\n", "\n      "))


@cli.command("test")
@click.argument("project")
@click.option(
    "--share", type=click.FloatRange(0, 1, min_open=True), default=0.05, show_default=True, help="Of the rows."
)
@JSON
@DEBUG
def test_command(project: str, share: float, as_json: bool, debug: bool) -> None:
    """Take PROJECT once through the loop on a sample in a scratch schema; nothing is registered, nothing is left."""
    from pipelines.authoring import trial  # noqa: PLC0415
    from pipelines.environment import Environment  # noqa: PLC0415

    # As after Ctrl-C, so that what was made is removed.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with _one_message(debug):
        result = trial.run(Environment.from_env(), project, share)
    if as_json:
        print(json.dumps(result))


if __name__ == "__main__":
    run_briefly(lambda: cli(prog_name="python -m pipelines.authoring"))
