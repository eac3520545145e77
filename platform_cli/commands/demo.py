"""`platform demo`: the stack, and the sample's whole loop on it."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from platform_cli.clients.airflow import Airflow
from platform_cli.clients.mlflow import MLflow
from platform_cli.clients.serving import ModelServer
from platform_cli.commands.run import step_environment
from platform_cli.commands.status import services_table
from platform_cli.commands.up import bring_up
from platform_cli.errors import PlatformError
from platform_cli.home import REPO
from platform_cli.local.runtime import LocalRuntime
from platform_cli.loop import follow, follow_next, open_airflow, start
from platform_cli.output import err, out

PROJECT = "flight_delay"
WINTER, SUMMER = "1-3", "7"
SERVED_SECONDS = 30


def demo() -> None:
    """Bring the stack up and take the sample once through the loop: ingest, transform, train, evaluate, register,
    serve, monitor. Safe to repeat: what has happened already is recognised."""
    began = time.monotonic()
    runtime = bring_up([])
    with open_airflow(runtime.stack) as airflow:
        _chapter("Winter: January to March arrive, and a model is trained on them")
        _new_data(runtime, airflow, WINTER)
        served = _await_served(runtime)
        _chapter("Summer: July arrives, an application asks for predictions, and the monitor compares")
        _new_data(runtime, airflow, SUMMER)
        served = _await_served(runtime)
        _step(runtime, "replay", "--month", SUMMER)
        monitored = follow(airflow, start(airflow, f"{PROJECT}__monitor"))
        findings = airflow.result(monitored, "monitor")
    _conclude(runtime, served, findings, time.monotonic() - began)


def _new_data(runtime: LocalRuntime, airflow: Airflow, months: str) -> None:
    """Land months, ingest them, and follow the training that they start."""
    _step(runtime, "land", "--months", months)
    began = datetime.now(UTC)
    follow(airflow, start(airflow, f"{PROJECT}__ingest"))
    follow_next(airflow, f"{PROJECT}__train", since=began)


def _chapter(title: str) -> None:
    err.print(f"\n[bold cyan]{title}[/]")


def _step(runtime: LocalRuntime, name: str, *options: str) -> dict[str, Any]:
    """Run a step and return the JSON object that it prints last.

    Raises:
        PlatformError: the step failed; with its output.
    """
    command, environment = step_environment(runtime)
    began = time.monotonic()
    done = subprocess.run(
        [*command, name, PROJECT, *options], env=environment, capture_output=True, text=True, cwd=REPO, check=False
    )
    if done.returncode:
        raise PlatformError(f"the step {name} failed", do="see its message above", detail=done.stderr.strip())
    err.print(f"  [green]✓[/] {name:<45} {'success':<10} {time.monotonic() - began:6.1f} s", highlight=False)
    return json.loads(done.stdout.splitlines()[-1])


def _await_served(runtime: LocalRuntime) -> dict[str, Any]:
    """Wait until the model server serves the champion that the registry names; returns the server's word on it."""
    server = _server(runtime)
    champion = _registry(runtime).aliased_version(PROJECT, "champion")
    deadline = time.monotonic() + SERVED_SECONDS
    while time.monotonic() < deadline:
        served = server.champion(PROJECT)
        if served is not None and str(served["version"]) == str(champion["version"]):
            err.print(f"  [green]✓[/] version {served['version']} of {PROJECT} is served", highlight=False)
            return champion | served
        time.sleep(0.2)
    raise PlatformError(
        f"the model server does not serve version {champion['version']} of {PROJECT}",
        do="see `platform logs serving`",
    )


def _server(runtime: LocalRuntime) -> ModelServer:
    service = runtime.stack.service("serving")
    return ModelServer(service.local.url, runtime.stack.secrets["SERVING_CLIENT_KEY"])


def _registry(runtime: LocalRuntime) -> MLflow:
    service = runtime.stack.service("mlflow")
    return MLflow(service.local.url, "admin", runtime.stack.secrets["MLFLOW_ADMIN_PASSWORD"])


def _conclude(runtime: LocalRuntime, served: dict[str, Any], findings: dict[str, Any], seconds: float) -> None:
    """The closing page: services, the version that serves with its metrics, what the monitor found, and a REST call
    with its answer."""
    out.print()
    out.print(services_table(runtime.status()))
    metrics = {m["key"]: m["value"] for m in _registry(runtime).run(served["run_id"])["data"]["metrics"]}
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
    answer = _server(runtime).predict(PROJECT, [record])
    out.print("\nA prediction, to repeat:\n")
    out.print(_call(runtime, record), highlight=False)
    out.print(f"\n{json.dumps(answer, indent=2)}", highlight=False)
    out.print(f"\nDone in {seconds:.0f} s. Put the command on your PATH: export PATH={REPO / '.venv/bin'}:$PATH")


def _call(runtime: LocalRuntime, record: dict[str, Any]) -> str:
    """A shell command that asks for a prediction; it fetches its key itself, so none is printed. Without curl on the
    machine, the command's own Python sends it."""
    url = f"{runtime.stack.service('serving').local.url}/models/{PROJECT}/predict"
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
