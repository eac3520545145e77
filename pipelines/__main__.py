"""``python -m pipelines <step> <project> [options]``: progress on stderr, the result as stdout's last line (JSON)."""

from __future__ import annotations

import importlib
import json
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.lineage import command as lineage_command
from pipelines.lineage.record import recorded
from pipelines.process import run_briefly
from pipelines.project import load_project
from pipelines.release import command as release_command
from pipelines.triggers.guards import TRIGGERS
from pipelines.warehouse import step_lock

SKIPPED = 99
"""The exit code of a step that found nothing to do (``"skip": true``): Airflow shows such a task as skipped."""

# Importing a step costs up to seconds, so only the step that is asked for is imported. Steps with the same
# lock exclude each other; a step without one changes nothing that a second run could disturb.
STEPS: dict[str, tuple[str, str]] = {
    "land": ("pipelines.ingestion.land", "land"),
    "inspect": ("pipelines.ingestion.inspection", "ingest"),
    "sync": ("pipelines.ingestion.sync", "ingest"),
    "ingest": ("pipelines.ingestion.ingest", "ingest"),
    "transform": ("pipelines.data.transform", "transform"),
    "failures": ("pipelines.data.failures", ""),
    "decide": ("pipelines.triggers.decide", "decide"),
    "snapshot": ("pipelines.data.snapshot", ""),
    "train": ("pipelines.training.train", "train"),
    "evaluate": ("pipelines.gate.evaluate", "release"),
    "register": ("pipelines.gate.register", "release"),
    "release": ("pipelines.release.watch", ""),
    "replay": ("pipelines.monitoring.replay", "replay"),
    "monitor": ("pipelines.monitoring.monitor", "monitor"),
    "due": ("pipelines.triggers.due", ""),
    "hindsight": ("pipelines.monitoring.hindsight", ""),
    "chart": ("pipelines.monitoring.chart", ""),
    "score": ("pipelines.batch.score", ""),
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


class Part(click.ParamType[tuple[int, int, int]]):
    """A part of something in order: ``2/10`` is the second tenth, ``2-10/10`` all but the first."""

    name = "part"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        """Parse `value`, or end as a wrong call."""
        found = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?/([0-9]+)", str(value))
        first, last, of = (int(found[1]), int(found[2] or found[1]), int(found[3])) if found else (0, 0, 0)
        if not 1 <= first <= last <= of:
            self.fail(f"{value!r} is not a part; write 2/10 for the second tenth, 2-10/10 for the rest", param, ctx)
        return first, last, of


class JsonObject(click.ParamType[dict[str, Any]]):
    """An object as JSON; an empty text is an empty one."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Any]:
        """Parse `value`, or end as a wrong call."""
        if isinstance(value, dict):
            return value
        try:
            found = json.loads(value or "{}")
        except json.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            self.fail(f"{value!r} is not an object in JSON", param, ctx)
        return found


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
            result = _run(name, project, values)
            _print(result)
        except StepError as error:
            if debug:
                traceback.print_exc()
            raise click.ClickException(str(error)) from None
        except Exception as error:
            if debug:
                raise
            what = f"{type(error).__name__}: {error}"
            raise click.ClickException(f"{project} {name} failed: {what}\n  → --debug shows where") from None
        if result.get("skip") is True:
            sys.exit(SKIPPED)

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
    with recorded(env, project, name, values) as outcome, step_lock(env, project.name, lock) if lock else nullcontext():
        result: dict[str, Any] = importlib.import_module(module).run(env, project, **values)
        outcome.result = {**result, "seconds": round(time.perf_counter() - start, 1)}
        _as_json(outcome.result)  # what cannot be printed is not recorded as done
    return outcome.result


def _print(result: dict[str, Any]) -> None:
    sys.stderr.flush()
    print(_as_json(result), flush=True)


def _as_json(result: dict[str, Any]) -> str:
    return json.dumps(result, default=str, allow_nan=False)


cli.add_command(lineage_command.trace)
cli.add_command(lineage_command.runs)
cli.add_command(release_command.models)
cli.add_command(release_command.audit)

_run_id = click.option("--run-id", help="The training run; the newest finished one of the project if not given.")

_step(
    "land",
    "Put files into the landing bucket: your own, or the sample's of some months.",
    click.option("--file", "files", type=click.Path(exists=True, dir_okay=False), multiple=True, help="Your own file."),
    click.option("--stream", help="The stream that the files belong to; the only one of the project if not given."),
    click.option("--months", type=Months(), help="The sample's months: 7, 1-3 or 1,2,5."),
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
_step(
    "decide",
    "Decide whether a training begins now; exit code 99 if not. Every decision is kept.",
    click.option("--trigger", type=click.Choice(TRIGGERS), default="demand", show_default=True, help="What asks."),
    click.option("--force/--no-force", help="Also while a release is running."),
    click.option("--evidence", type=JsonObject(), help="What the trigger saw, to be kept with the decision (JSON)."),
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
    "release",
    "Look at the running release once and act on it (exit code 99 while it goes on), or only tell how it stands.",
    click.argument("action", type=click.Choice(["watch", "status"])),
)
_step(
    "replay",
    "Send a month's rows to the model server, as an application would.",
    click.option("--month", type=click.IntRange(1, 12), required=True, help="The month whose rows are sent."),
    click.option("--rows", type=click.IntRange(min=1), default=3000, show_default=True, help="How many rows to send."),
    click.option("--part", type=Part(), default="1/1", help="Only a part of them: 2/10, or 2-10/10."),
)
_step(
    "monitor",
    "Compare recent predictions with the training data; measure performance where labels are known.",
    click.option("--window", type=click.IntRange(min=1), help="How many recent predictions; as declared if not given."),
    click.option("--report", is_flag=True, help="Write Evidently's pages even if nothing drifted."),
)
_step(
    "due",
    "Decide whether what the monitor found asks for a training; exit code 99 if not.",
    click.option("--findings", type=JsonObject(), required=True, help="The result of `monitor` (JSON)."),
)
_step(
    "hindsight",
    "Compare what was answered for a month with what a version alone would have answered.",
    click.option("--month", type=click.IntRange(1, 12), required=True, help="The month to look back at."),
    click.option("--version", type=click.IntRange(min=1), required=True, help="The version to compare with."),
)
_step(
    "chart",
    "Draw months that were looked back at.",
    click.option("--rows", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The months (JSON)."),
    click.option("--to", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The picture (PNG)."),
)
_step(
    "score",
    "Score every row of a table or a file; a call after a crash goes on where it stopped.",
    click.option("--from", "source", required=True, help="A table (schema.table), or a .parquet or .csv file."),
    click.option("--to", "target", required=True, help="A table (schema.table), or a .parquet or .csv file."),
    click.option("--version", type=click.IntRange(min=1), help="The version; the champion if none is given."),
    click.option("--alias", help="The alias of the version: champion, canary or shadow."),
    click.option("--engine", type=click.Choice(["local", "spark"]), help="As declared (batch.engine) if not given."),
)


if __name__ == "__main__":
    run_briefly(lambda: cli(prog_name="python -m pipelines"))
