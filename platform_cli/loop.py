"""Drives the loop of a project through Airflow, and says what happens."""

from __future__ import annotations

import time
from datetime import datetime

from platform_cli.clients.airflow import Airflow, DagRun
from platform_cli.errors import PlatformError
from platform_cli.output import err
from platform_cli.stack.model import Stack

PARSE_SECONDS = 90
NEXT_SECONDS = 60
LOG_LINES = 25


def open_airflow(stack: Stack) -> Airflow:
    """A client of the stack's Airflow, as the platform's own account."""
    service = stack.service("airflow-api-server")
    return Airflow(service.local.url, "platform", stack.secrets["AIRFLOW_PLATFORM_PASSWORD"])


def start(airflow: Airflow, dag_id: str) -> DagRun:
    """Start a run of a DAG, once Airflow has parsed it.

    Raises:
        PlatformError: there is no such DAG.
    """
    airflow.await_dag(dag_id, seconds=PARSE_SECONDS)
    airflow.unpause(dag_id)
    return airflow.trigger(dag_id)


def follow(airflow: Airflow, run: DagRun) -> DagRun:
    """Show the tasks of a run as they end, and return the run when it has ended.

    Raises:
        PlatformError: a task failed; with the end of its log.
    """
    err.print(f"[bold]{run.dag_id}[/]", highlight=False)
    failed = None
    for task in airflow.follow(run):
        mark = {"success": "[green]✓[/]", "skipped": "[dim]-[/]"}.get(task.state, "[red]✗[/]")
        err.print(f"  {mark} {task.task_id:<45} {task.state:<10} {task.seconds:6.1f} s", highlight=False)
        if task.state == "failed" and failed is None:
            failed = task
    ended = airflow.run(run)
    if ended.state != "success":
        raise PlatformError(
            f"{run.dag_id} failed" + (f" in the task {failed.task_id}" if failed else ""),
            where=f"Airflow, run {run.run_id}",
            do="mend the cause in the log above, then run it again",
            detail=airflow.log_tail(run, failed, lines=LOG_LINES) if failed else "",
        )
    return ended


def follow_next(airflow: Airflow, dag_id: str, *, since: datetime) -> DagRun:
    """Wait for the run of a DAG that an asset starts, then follow it.

    Args:
        since: runs that became due before this moment do not count.

    Raises:
        PlatformError: none began within a minute, or it failed.
    """
    deadline = time.monotonic() + NEXT_SECONDS
    while (run := airflow.latest_run(dag_id, since=since)) is None:
        if time.monotonic() > deadline:
            raise PlatformError(
                f"{dag_id} was not started by the new data",
                where="Airflow",
                do=f"see whether {dag_id} is paused, and `platform logs airflow-scheduler`",
            )
        time.sleep(0.5)
    return follow(airflow, run)
