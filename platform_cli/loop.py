"""Drives the loop of a project through Airflow, and says what happens."""

from __future__ import annotations

from datetime import datetime

from platform_cli.clients.airflow import Airflow, DagRun, TaskState
from platform_cli.errors import PlatformError
from platform_cli.output import err
from platform_cli.stack.model import Stack

PARSE_SECONDS = 90
NEXT_SECONDS = 180
LOG_LINES = 25
LOG_WIDTH = 500
# the tasks of dbt, and the one that prints the rows which failed its tests
DBT_TASKS, REPORT_TASK = "dbt.", "failing_rows"
# what Airflow's BashOperator writes before and after the output of its command
STEP_BEGINS, STEP_ENDS = "Output:", "Command exited with return code"


def open_airflow(stack: Stack) -> Airflow:
    """A client of the stack's Airflow, as the platform's own account."""
    service = stack.service("airflow-api-server")
    return Airflow(service.url, "platform", stack.secrets["AIRFLOW_PLATFORM_PASSWORD"])


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
    tasks = []
    for task in airflow.follow(run):
        tasks.append(task)
        mark = {"success": "[green]✓[/]", "skipped": "[dim]-[/]"}.get(task.state, "[red]✗[/]")
        err.print(f"  {mark} {task.task_id:<45} {task.state:<10} {task.seconds:6.1f} s", highlight=False)
    ended = airflow.run(run)
    if ended.state != "success":
        raise _failure(airflow, run, tasks)
    return ended


def _failure(airflow: Airflow, run: DagRun, tasks: list[TaskState]) -> PlatformError:
    """What to say of a run that failed: the first task that did, with its log; or, where a task has reported the rows
    that failed, that report, which is what a person needs of dbt's hundreds of lines."""
    failed = next((task for task in tasks if task.state == "failed"), None)
    by_dbt = failed is not None and failed.task_id.startswith(DBT_TASKS)
    report = next((task for task in tasks if task.task_id == REPORT_TASK and task.state == "success"), None)
    shown = report if by_dbt and report else failed
    lines = airflow.log_of(run, shown) if shown else []
    return PlatformError(
        f"{run.dag_id} failed" + (f" in the task {failed.task_id}" if failed else ""),
        where=f"Airflow, run {run.run_id}",
        do="mend the cause that is shown above, then run it again",
        detail="\n".join(line[:LOG_WIDTH] for line in said_by_step(lines)[-LOG_LINES:]),
    )


def said_by_step(lines: list[str]) -> list[str]:
    """What the step itself wrote, out of the log of its task; all of the log if the step wrote nothing."""
    begin = next((i for i, line in enumerate(lines) if line.strip() == STEP_BEGINS), None)
    if begin is None:
        return lines
    end = next((i for i, line in enumerate(lines) if line.startswith(STEP_ENDS)), len(lines))
    return [line for line in lines[begin + 1 : end] if not line.startswith("{")]


def follow_next(airflow: Airflow, dag_id: str, *, since: datetime) -> DagRun:
    """Wait for the run of a DAG that an asset starts, then follow it.

    Args:
        since: runs that became due before this moment do not count.

    Raises:
        PlatformError: none began in three minutes, or it failed.
    """
    return follow(airflow, airflow.await_run(dag_id, since=since, seconds=NEXT_SECONDS))
