"""`platform demo`: the stack, and the sample's whole loop on it."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from typing import Annotated, Any

import typer
from rich.table import Table

from platform_cli.commands.status import services_table
from platform_cli.commands.up import bring_up
from platform_cli.demo.sample import PROJECT, Sample, chapter
from platform_cli.demo.year import parse_months, tell
from platform_cli.errors import UsageError
from platform_cli.home import REPO
from platform_cli.loop import open_airflow
from platform_cli.output import out

WINTER, SUMMER = "1-3", 7
LOOKED_AT, TRIED_ON = 3000, 30_000
"""How many rows of July the monitor looks at, and out of how many the requests of a release are taken."""
ALL_YEAR = "1-12"
TOLD = "demo.json"
"""In the home's state: what the monitor found, once the sample has been through the loop."""


def demo(
    year: Annotated[bool, typer.Option("--year", help="All of 2013, month by month: about half an hour.")] = False,
    months: Annotated[str | None, typer.Option(help="With --year: only these months, such as 1-6.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Through the loop once more, if it has been already.")] = False,
) -> None:
    """Bring the stack up and take the sample once through the loop: ingest, transform, train, evaluate, register,
    release, serve, monitor, retrain. Safe to repeat: what has happened already is recognised."""
    if months is not None and not year:
        raise UsageError("--months is for --year", do="platform demo --year --months 1-6")
    if again and year:
        raise UsageError("a year is told once", do="platform demo --again, or platform demo --year")
    chosen = parse_months(months or ALL_YEAR)
    began = time.monotonic()
    runtime = bring_up([])
    with open_airflow(runtime.stack) as airflow:
        sample = Sample(runtime, airflow)
        if year:
            tell(sample, chosen, runtime.home.state)
            return
        told = runtime.home.state / TOLD
        if again or not told.exists():
            told.write_text(json.dumps(_two_seasons(sample)))
        else:
            chapter("The sample has been through the loop; `platform demo --again` takes it through once more")
        _conclude(sample, sample.await_served(), json.loads(told.read_text()), began)


def _two_seasons(sample: Sample) -> dict[str, Any]:
    """Winter, a first model; summer, drift, and the model that follows from it. What the monitor found in summer."""
    chapter("Winter: January to March arrive, and a model is trained on them")
    sample.new_data(WINTER)
    sample.await_served()
    chapter("Summer: July arrives, an application asks for predictions, and the monitor compares")
    sample.new_data(str(SUMMER))
    sample.step("replay", "--month", str(SUMMER), "--rows", str(LOOKED_AT))
    findings, training = sample.look()
    if training is not None and training.watch is not None:
        chapter(f"A new model: version {training.version} answers some of the requests, and is watched")
        sample.send_until_released(SUMMER, TRIED_ON, training.watch)
    return findings


def _conclude(sample: Sample, served: dict[str, Any], findings: dict[str, Any], began: float) -> None:
    """The closing page: services, the version that serves with its metrics, what the monitor found, and a REST call
    with its answer."""
    out.print()
    out.print(services_table(sample.runtime.status()))
    metrics = {m["key"]: m["value"] for m in sample.registry().run(served["run_id"])["data"]["metrics"]}
    table = Table(
        title=f"{PROJECT}: version {served['version']} serves", title_justify="left", box=None, pad_edge=False
    )
    for title in ("METRIC", "TRAIN", "TEST"):
        table.add_column(title)
    for name in ("roc_auc", "average_precision", "log_loss", "brier"):
        table.add_row(name, f"{metrics[f'train_{name}']:.4f}", f"{metrics[f'test_{name}']:.4f}")
    out.print(table)
    out.print(
        f"\nThe monitor, on {findings['predictions']} predictions of July: {findings['message']}", highlight=False
    )
    if findings["performance"]:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in findings["performance"].items())
        out.print(f"  on the {findings['labelled']} flights that have landed: {figures}", highlight=False)
    out.print(f"  report: {findings['report_url']}", highlight=False)
    record = served["example"]["records"][0]
    answer = sample.server().predict(PROJECT, [record])
    out.print("\nA prediction, to repeat:\n")
    out.print(_call(sample, record), highlight=False)
    out.print(f"\n{json.dumps(answer, indent=2)}", highlight=False)
    seconds = time.monotonic() - began
    out.print(f"\nDone in {seconds:.0f} s. Put the command on your PATH: export PATH={REPO / '.venv/bin'}:$PATH")


def _call(sample: Sample, record: dict[str, Any]) -> str:
    """A shell command that asks for a prediction; it fetches its key itself, so none is printed. Without curl on the
    machine, the command's own Python sends it."""
    url = f"{sample.runtime.stack.service('serving').url}/models/{PROJECT}/predict"
    key = f"$({REPO / '.venv/bin/platform'} credentials serving --token)"
    body = shlex.quote(json.dumps({"records": [record]}))
    if shutil.which("curl"):
        return (
            f"curl -s {url} -H 'Content-Type: application/json' \\\n"
            f'  -H "Authorization: Bearer {key}" \\\n  -d {body}'
        )
    send = "import sys, httpx; _, url, key, body = sys.argv; print(httpx.post(url, content=body, headers=dict("
    send += '[("Content-Type", "application/json"), ("Authorization", "Bearer " + key)])).text)'
    return f"{REPO / '.venv/bin/python'} -c '{send}' \\\n  {url} \"{key}\" \\\n  {body}"
