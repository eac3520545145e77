"""``python -m pipelines <step> <project> [options]``: progress on stderr, the result as stdout's last line (JSON)."""

from __future__ import annotations

import importlib
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from typing import Any

import click

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import load_project
from pipelines.warehouse import step_lock

# Importing a step costs up to seconds, so only the step that is asked for is imported. Steps with the same
# lock exclude each other; a step without one changes nothing that a second run could disturb.
STEPS: dict[str, tuple[str, str]] = {
    "land": ("pipelines.ingestion.land", "land"),
    "inspect": ("pipelines.ingestion.inspection", "ingest"),
    "sync": ("pipelines.ingestion.sync", "ingest"),
    "ingest": ("pipelines.ingestion.ingest", "ingest"),
    "transform": ("pipelines.data.transform", "transform"),
    "failures": ("pipelines.data.failures", ""),
    "snapshot": ("pipelines.data.snapshot", ""),
    "train": ("pipelines.training.train", "train"),
    "evaluate": ("pipelines.gate.evaluate", "release"),
    "register": ("pipelines.gate.register", "release"),
    "replay": ("pipelines.monitoring.replay", "replay"),
    "monitor": ("pipelines.monitoring.monitor", "monitor"),
}


class Months(click.ParamType[list[int]]):
    """Months such as ``7``, ``1-3`` or ``1,2,5-6``, as a sorted list of numbers from 1 to 12."""

    name = "months"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Parse `value`, or end as a wrong call."""
        try:
            found = {month for part in str(value).split(",") for month in _range(part)}
        except ValueError:
            found = set()
        if not found or not found <= set(range(1, 13)):
            self.fail(f"{value!r} is not a list of months; write 7, 1-3 or 1,2,5", param, ctx)
        return sorted(found)


def _range(part: str) -> range:
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


class Moment(click.ParamType[datetime]):
    """A moment in ISO 8601, with its offset from UTC."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse `value`, or end as a wrong call."""
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            self.fail(f"{value!r} is not a moment; write it as 2013-07-01T05:00:00+00:00", param, ctx)
        return found


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Run one step of the loop for one project."""


def _step(name: str, help_text: str, *options: Callable[[Any], Any]) -> None:
    """Register the step `name` as a command with `options`."""

    def command(project: str, debug: bool, **values: Any) -> None:
        try:
            _print(_run(name, project, values))
        except StepError as error:
            if debug:
                traceback.print_exc()
            raise click.ClickException(str(error)) from None
        except Exception as error:
            if debug:
                raise
            what = f"{type(error).__name__}: {error}"
            raise click.ClickException(f"{project} {name} failed: {what}\n  → --debug shows where") from None

    command.__doc__ = help_text
    debug = click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
    decorated: Any = debug(command)
    for option in reversed(options):
        decorated = option(decorated)
    cli.command(name)(click.argument("project")(decorated))


def _run(name: str, project_name: str, values: dict[str, Any]) -> dict[str, Any]:
    # A scheduler cancels with SIGTERM: let the step close what it opened, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    start = time.perf_counter()
    env = Environment.from_env()
    project = load_project(env.repo, project_name)
    module, lock = STEPS[name]
    with step_lock(env, project.name, lock) if lock else nullcontext():
        result: dict[str, Any] = importlib.import_module(module).run(env, project, **values)
    return {**result, "seconds": round(time.perf_counter() - start, 1)}


def _print(result: dict[str, Any]) -> None:
    sys.stderr.flush()
    print(json.dumps(result, default=str, allow_nan=False), flush=True)


_run_id = click.option("--run-id", help="The training run; the newest finished one of the project if not given.")

_step(
    "land",
    "Put the given months' files into the landing bucket.",
    click.option("--months", type=Months(), required=True, help="Months to land: 7, 1-3 or 1,2,5."),
    click.option("--force", is_flag=True, help="Write files again that are there already."),
)
_step("inspect", "Check every landing file that is not accepted yet, before anything is loaded.")
_step(
    "sync",
    "Load new landing files into the raw tables.",
    click.option("--check-source", is_flag=True, help="Ask the connector even if the ledger knows of no new file."),
)
_step("ingest", "inspect, then sync.")
_step("transform", "Build and test the project's dbt selection.")
_step(
    "failures",
    "Print the rows that failed the tests of the last dbt run.",
    click.option("--since", type=Moment(), help="Only of a run after this moment (ISO 8601)."),
)
_step("snapshot", "Freeze the labelled rows of the mart as a Parquet file.")
_step(
    "train",
    "Train a candidate on a snapshot and log it.",
    click.option("--snapshot", help="Address of the snapshot (s3://…); a new one is made if not given."),
    click.option("--reuse", is_flag=True, help="Take the run of the same snapshot and commit, if there is one."),
)
_step("evaluate", "Judge a candidate by the declared minimum and against the champion.", _run_id)
_step("register", "Register a judged candidate; it becomes champion if it passed.", _run_id)
_step(
    "replay",
    "Send a month's rows to the model server, as an application would.",
    click.option("--month", type=click.IntRange(1, 12), required=True, help="The month whose rows are sent."),
    click.option("--rows", type=click.IntRange(min=1), default=3000, show_default=True, help="How many rows to send."),
)
_step(
    "monitor",
    "Compare recent predictions with the training data; measure performance where labels are known.",
    click.option("--window", type=click.IntRange(min=1), help="How many recent predictions; as declared if not given."),
)


if __name__ == "__main__":
    cli(prog_name="python -m pipelines")
