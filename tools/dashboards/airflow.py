"""Airflow: its parts, the DAGs' runs, tasks, parsing. The figures come from its database (compose/exporters)."""

from tools.dashboards.model import COLUMNS, Color, Dashboard, Kind, Panel, Query, Row, Variable

OF_DAG = '{dag_id=~"$dag"}'


def of_dag(metric: str) -> str:
    """A figure of each chosen DAG."""
    return f"max by (dag_id) ({metric}{OF_DAG})"


NOW = Row(
    "Now",
    (
        Panel(
            "Last sign of life",
            "Age of the heartbeat of each part. Without its scheduler nothing starts, without its DAG processor no new "
            "file is seen, without its triggerer nothing that waits is woken.",
            "s",
            (Query("time() - max by (part) (airflow_heartbeat_timestamp_seconds)", "{{part}}"),),
            kind=Kind.STAT,
            steps=((30, Color.DOUBTFUL), (120, Color.BAD)),
            alerts=("AirflowSilent",),
        ),
        Panel(
            "DAGs whose last run failed",
            "A run that succeeds ends it; what failed is in the table below.",
            "none",
            (Query("sum(airflow_last_run_failed)", "DAGs"),),
            kind=Kind.STAT,
            width=4,
            steps=((1, Color.BAD),),
            alerts=("DagRunFailed",),
        ),
        Panel(
            "Files that cannot be imported",
            "Their DAGs do not run. Airflow's first page names file and line.",
            "none",
            (Query("max(airflow_import_errors)", "files"),),
            kind=Kind.STAT,
            width=4,
            steps=((1, Color.BAD),),
            alerts=("DagsNotImported",),
        ),
        Panel(
            "Tasks now",
            "Running, and ready but without a place (AIRFLOW_PARALLELISM).",
            "none",
            (Query('max by (state) (airflow_tasks_count{state=~"running|queued"})', "{{state}}"),),
            kind=Kind.STAT,
            width=4,
        ),
        Panel(
            "Longest wait",
            "How long the task that has waited longest has been queued.",
            "s",
            (Query('max(airflow_tasks_oldest_seconds{state="queued"})', "waiting"),),
            kind=Kind.STAT,
            width=4,
            steps=((300, Color.DOUBTFUL), (1800, Color.BAD)),
            alerts=("TasksWaiting",),
        ),
    ),
)
RUNS = Row(
    "Runs",
    (
        Panel(
            "The last run of each DAG",
            "Whether it failed (1), how long it took, how long it waited for its start after its time had come, and "
            "how long ago it ended and a run last succeeded.",
            "none",
            (
                Query(of_dag("airflow_last_run_failed"), "Failed"),
                Query(of_dag("airflow_last_run_seconds"), "Took", "s"),
                Query(of_dag("airflow_last_run_delay_seconds"), "Waited", "s"),
                Query(f"time() - {of_dag('airflow_last_run_ended_timestamp_seconds')}", "Ended ago", "s"),
                Query(f"time() - {of_dag('airflow_last_success_timestamp_seconds')}", "Succeeded ago", "s"),
                Query(of_dag("airflow_dag_paused"), "Paused"),
            ),
            kind=Kind.TABLE,
            width=COLUMNS,
            alerts=("DagRunFailed",),
        ),
        Panel(
            "Runs of the last 24 hours",
            "By state, with those that are not over. `failed` counts runs whose tasks were tried as often as they may "
            "be.",
            "short",
            (Query(f"sum by (state) (airflow_runs_last_day{OF_DAG})", "{{state}}"),),
            stacked=True,
        ),
        Panel(
            "Time a run takes",
            "Of the run of each DAG that ended last.",
            "s",
            (Query(of_dag("airflow_last_run_seconds"), "{{dag_id}}"),),
        ),
        Panel(
            "Time a run waits for its start",
            "Between the moment at which it could start and its start: the scheduler's delay.",
            "s",
            (Query(of_dag("airflow_last_run_delay_seconds"), "{{dag_id}}"),),
        ),
    ),
)
TASKS = Row(
    "Tasks and files",
    (
        Panel(
            "Tasks by state",
            "`queued` for long: there are too few places. `up_for_retry`: something fails now and then.",
            "short",
            (Query("max by (state) (airflow_tasks_count)", "{{state}}"),),
            stacked=True,
        ),
        Panel(
            "Time to parse",
            "How long the file of each DAG took to parse the last time. Above some seconds, new projects appear late.",
            "s",
            (Query(of_dag("airflow_dag_parse_seconds"), "{{dag_id}}"),),
        ),
        Panel(
            "Age of what is known of the files",
            "Time since the file of each DAG was last parsed (AIRFLOW_REFRESH_SECONDS, while the processor works).",
            "s",
            (Query(f"time() - {of_dag('airflow_dag_parsed_timestamp_seconds')}", "{{dag_id}}"),),
        ),
        Panel(
            "Tasks that failed in the last 24 hours",
            "Empty is good. The log of each ends with what is wrong, where, and what to do.",
            "none",
            (Query(f"max by (dag_id, task_id) (airflow_failed_tasks_last_day{OF_DAG})", "Failures"),),
            kind=Kind.TABLE,
            width=COLUMNS,
            alerts=("DagRunFailed",),
        ),
    ),
)
DASHBOARD = Dashboard(
    "airflow",
    "Airflow",
    "Do the DAGs run, and when they are meant to?",
    (NOW, RUNS, TASKS),
    (Variable("dag", "DAG", "airflow_dag_paused", "dag_id", many=True),),
)
