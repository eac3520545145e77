"""Makes the DAGs of a project from its declaration: ingest, train, monitor, linked by assets."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from dags.dbt import models
from dags.steps import repo, step
from pipelines.errors import StepError
from pipelines.project import Project, load_project, project_names

DEFAULTS = {
    "owner": "platform",
    "retries": 2,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=6),
}
DAILY = "0 6 * * *"


def mart_asset(project: Project) -> Asset:
    """New rows are in the project's mart, and they passed its tests."""
    return Asset(f"{project.name}/mart")


def model_asset(project: Project) -> Asset:
    """A candidate of the project has been judged and registered."""
    return Asset(f"{project.name}/model")


def _dag(project: Project, part: str, schedule: Any, doc: str) -> DAG:
    return DAG(
        dag_id=f"{project.name}__{part}",
        description=f"{part} of {project.name}: {project.description}",
        doc_md=f"{project.description}\n\n{doc}\n\nMade from `projects/{project.name}/project.yaml`.",
        schedule=schedule,
        # No start: a schedule begins with its next time, not with one that has passed before there was any data.
        start_date=None,
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        tags=[project.name, part],
        # Otherwise a DAG would belong to whichever file happens to make it.
        auto_register=False,
    )


def _when(cron: str | None, asset: Asset | None) -> Any:
    """The schedule that both a cron expression and an asset start; either may be missing."""
    if cron and asset:
        return AssetOrTimeSchedule(timetable=CronTriggerTimetable(cron, timezone="UTC"), assets=[asset])
    if cron:
        return CronTriggerTimetable(cron, timezone="UTC")
    return [asset] if asset else None


def ingest(project: Project) -> DAG:
    """inspect → sync → dbt → asset `<project>/mart`; where dbt fails, the failing rows are printed."""
    doc = (
        "Checks the files that have landed, loads them into `raw`, and builds and tests the dbt models. "
        "A file or a test that fails stops everything after it: training keeps the data it had. "
        "`failing_rows` then shows the rows."
    )
    with _dag(project, "ingest", _when(project.data.schedule, None), doc) as dag:
        # A file that is wrong stays wrong: tried again it only delays the message.
        inspect = step("inspect", project.name, retries=0)
        sync = step("sync", project.name)
        built = models(repo(), project.data.dbt_select, dag)
        ready = EmptyOperator(
            task_id="mart_is_ready", outlets=[mart_asset(project)], trigger_rule="none_failed_min_one_success"
        )
        # It also runs when dbt did not, because something before it failed: then it must not show older rows.
        rows = step(
            "failures",
            project.name,
            '--since "$SINCE"',
            values={"SINCE": "{{ dag_run.start_date.isoformat() }}"},
            task_id="failing_rows",
            trigger_rule="one_failed",
            retries=0,
        )
        inspect >> sync >> built
        # Every task of dbt counts, not the last ones only: the one that runs dbt is a leaf of its own.
        for task in built.iter_tasks():
            task >> [ready, rows]
    return dag


def train(project: Project) -> DAG:
    """snapshot → train → evaluate → register → asset `<project>/model`."""
    doc = (
        "Freezes the labelled rows, trains a candidate on them, judges it against the declared minimum and the "
        "champion, and registers it. Only a candidate that passes becomes champion, which the model server follows."
    )
    triggers = project.triggers
    schedule = _when(triggers.schedule, mart_asset(project) if triggers.on_new_data else None)
    run_id = {"RUN_ID": "{{ ti.xcom_pull(task_ids='train')['run_id'] }}"}
    with _dag(project, "train", schedule, doc) as dag:
        snapshot = step("snapshot", project.name)
        candidate = step(
            "train",
            project.name,
            '--snapshot "$SNAPSHOT" --reuse',
            values={"SNAPSHOT": "{{ ti.xcom_pull(task_ids='snapshot')['uri'] }}"},
        )
        evaluate = step("evaluate", project.name, '--run-id "$RUN_ID"', values=run_id)
        register = step("register", project.name, '--run-id "$RUN_ID"', values=run_id, outlets=[model_asset(project)])
        snapshot >> candidate >> evaluate >> register
    return dag


def monitor(project: Project) -> DAG:
    """monitor, after new data and every day."""
    doc = (
        "Compares recent predictions with the training snapshot, and with what happened where it is known. "
        "The reports are artifacts in MLflow, the figures are metrics in Prometheus."
    )
    with _dag(project, "monitor", _when(DAILY, mart_asset(project)), doc) as dag:
        step("monitor", project.name)
    return dag


PARTS: tuple[Callable[[Project], DAG], ...] = (ingest, train, monitor)


def build(directory: Path) -> Iterator[DAG | StepError]:
    """The DAGs of every project below `directory`; in place of one that cannot be made, why."""
    for name in project_names(directory):
        try:
            project = load_project(directory, name)
        except StepError as error:
            yield error
            continue
        for part in PARTS:
            try:
                yield part(project)
            except StepError as error:
                yield error
