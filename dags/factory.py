"""Makes the DAGs of a project from its declaration: ingest, train, release, monitor, linked by assets."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Asset, AssetAny, AssetOrTimeSchedule, BaseOperator, CronTriggerTimetable, Param

from dags.dbt import models
from dags.steps import FILTERS, repo, step, watch
from dags.triggers import candidate_asset, evidence_of, mart_asset, pass_on, retrain_asset, trigger_of
from pipelines.errors import StepError
from pipelines.project import Project, load_project, project_names, seconds

DEFAULTS = {
    "owner": "platform",
    "retries": 2,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": True,
    "execution_timeout": timedelta(hours=6),
}
DAILY = "0 6 * * *"
WATCH_MARGIN = timedelta(days=1)
"""How much longer than a release may take its watch goes on: the watch itself ends what has taken too long."""


def _dag(project: Project, part: str, schedule: Any, doc: str, **more: Any) -> DAG:
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
        user_defined_filters=FILTERS,
        # Otherwise a DAG would belong to whichever file happens to make it.
        auto_register=False,
        **more,
    )


def _cron(expression: str) -> CronTriggerTimetable:
    """From its next time on. Airflow's default is to begin with the last one, if that was in the last tenth of the
    period: two hours and more after the time of a daily ingestion, before there is any data."""
    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=timedelta(0))


def _when(cron: str | None, assets: list[Asset]) -> Any:
    """The schedule that a cron expression and any of `assets` start; either may be missing."""
    condition = AssetAny(*assets) if assets else None
    if cron and condition:
        return AssetOrTimeSchedule(timetable=_cron(cron), assets=condition)
    return _cron(cron) if cron else condition


def ingest(project: Project) -> DAG:
    """inspect → sync → dbt → asset `<project>/mart`; where dbt fails, the failing rows are printed. Without
    connections, or without a dbt selection, the declaration has no such part, and so has the DAG."""
    doc = (
        "Checks the files that have landed, loads them into `raw`, and builds and tests the dbt models. "
        "A file or a test that fails stops everything after it: training keeps the data it had. "
        "`failing_rows` then shows the rows."
    )
    with _dag(project, "ingest", _when(project.data.schedule, []), doc) as dag:
        last: BaseOperator | None = None
        if project.data.connections:
            # A file that is wrong stays wrong: tried again it only delays the message.
            last = step("sync", project.name)
            step("inspect", project.name, retries=0) >> last
        if project.data.dbt_select:
            _transform(project, project.data.dbt_select, dag, last)
        else:
            ready = EmptyOperator(task_id="mart_is_ready", outlets=[mart_asset(project)])
            if last:
                last >> ready
    return dag


def _transform(project: Project, select: str, dag: DAG, loaded: BaseOperator | None) -> None:
    """The tasks of dbt after `loaded`, then the asset, or the rows that failed."""
    built = models(repo(), select, dag)
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
    if loaded:
        loaded >> built
    # Every task of dbt counts, not the last ones only: the one that runs dbt is a leaf of its own.
    for task in built.iter_tasks():
        task >> [ready, rows]


def train(project: Project) -> DAG:
    """decide → snapshot → train → evaluate → register → asset `<project>/candidate`."""
    doc = (
        "`decide` looks at what asks for a training (new data, the time, drift, a loss, a person) and at what holds it "
        "back (triggers in the declaration, a release that is running); every decision is a row in "
        "`triggers.decisions`. Then: freezes the labelled rows, trains a candidate on them, judges it, and registers "
        "it. Only a candidate that passes is released."
    )
    force = Param(False, type="boolean", description="Train also while a release is running.")
    # New data always asks, since the first model needs nothing else; `decide` knows what the declaration wants.
    schedule = _when(project.triggers.schedule, [mart_asset(project), retrain_asset(project)])
    macros = {"trigger_of": trigger_of, "evidence_of": evidence_of}
    run_id = {"RUN_ID": "{{ ti.xcom_pull(task_ids='train')['run_id'] }}"}
    with _dag(project, "train", schedule, doc, params={"force": force}, user_defined_macros=macros) as dag:
        decide = step(
            "decide",
            project.name,
            '--trigger "$TRIGGER" "$FORCE" --evidence "$EVIDENCE"',
            values={
                "TRIGGER": "{{ trigger_of(dag_run.run_type, triggering_asset_events) }}",
                "EVIDENCE": "{{ evidence_of(triggering_asset_events) | tojson }}",
                "FORCE": "{{ '--force' if params.force else '--no-force' }}",
            },
        )
        snapshot = step("snapshot", project.name)
        candidate = step(
            "train",
            project.name,
            '--snapshot "$SNAPSHOT" --reuse',
            values={"SNAPSHOT": "{{ ti.xcom_pull(task_ids='snapshot')['uri'] }}"},
        )
        evaluate = step("evaluate", project.name, '--run-id "$RUN_ID"', values=run_id)
        register = step(
            "register", project.name, '--run-id "$RUN_ID"', values=run_id, outlets=[candidate_asset(project)]
        )
        decide >> snapshot >> candidate >> evaluate >> register
    return dag


def release(project: Project) -> DAG:
    """watch: looks at the running release until there is none any more."""
    doc = (
        "Watches the release of a candidate: goes to its next step when it has been seen enough, makes it champion "
        "after the last one, and rolls it back at the first breach of `release.limits`. Ends at once where no release "
        "is running."
    )
    limit = timedelta(seconds=seconds(project.release.timeout)) + WATCH_MARGIN
    with _dag(project, "release", [candidate_asset(project)], doc) as dag:
        watch(
            "release",
            project.name,
            "watch",
            task_id="watch",
            seconds=seconds(project.release.poll),
            timeout=limit.total_seconds(),
        )
    return dag


def monitor(project: Project) -> DAG:
    """monitor → retrain_due, after new data and every day → asset `<project>/retrain`."""
    doc = (
        "Compares recent predictions with those of the training, and with what happened where it is known. "
        "The reports are artifacts in MLflow, the figures are metrics in Prometheus. "
        "`retrain_due` is skipped unless the declaration's triggers want a training for what was found."
    )
    with _dag(project, "monitor", _when(DAILY, [mart_asset(project)]), doc) as dag:
        look = step("monitor", project.name)
        due = step(
            "due",
            project.name,
            '--findings "$FINDINGS"',
            values={"FINDINGS": "{{ ti.xcom_pull(task_ids='monitor') | tojson }}"},
            task_id="retrain_due",
            outlets=[retrain_asset(project)],
            post_execute=pass_on,
        )
        look >> due
    return dag


PARTS: tuple[Callable[[Project], DAG], ...] = (ingest, train, release, monitor)


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
