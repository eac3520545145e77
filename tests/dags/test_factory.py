"""The DAGs that a project's declaration turns into."""

import importlib
import runpy
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables.base import TimeRestriction

from pipelines.errors import StepError

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def factory(checkout: Path) -> ModuleType:
    return importlib.import_module("dags.factory")


@pytest.fixture
def dags(factory: ModuleType, checkout: Path) -> dict[str, Any]:
    made = list(factory.build(checkout))
    assert not [item for item in made if isinstance(item, StepError)]
    return {dag.dag_id: dag for dag in made}


@pytest.fixture
def declare(checkout: Path) -> Callable[..., None]:
    """Change the sample's project.yaml, or write another project's."""

    def change(old: str, new: str, project: str = "flight_delay") -> None:
        text = (checkout / "projects" / "flight_delay" / "project.yaml").read_text()
        assert old in text
        directory = checkout / "projects" / project
        directory.mkdir(exist_ok=True)
        (directory / "project.yaml").write_text(text.replace(old, new))

    return change


def edges(dag: Any) -> dict[str, set[str]]:
    return {task.task_id: task.downstream_task_ids for task in dag.tasks}


ALL = {f"flight_delay__{part}" for part in ("ingest", "monitor", "release", "train")}


def test_a_project_has_four_dags_with_its_tags_and_docs(dags: dict[str, Any]) -> None:
    assert set(dags) == ALL
    for dag in dags.values():
        part = dag.dag_id.removeprefix("flight_delay__")
        assert set(dag.tags) == {"flight_delay", part}
        assert "projects/flight_delay/project.yaml" in dag.doc_md
        assert dag.max_active_runs == 1
        assert not dag.catchup


def test_ingest_has_one_task_a_model_of_the_selection(dags: dict[str, Any]) -> None:
    graph = edges(dags["flight_delay__ingest"])
    assert graph["inspect"] == {"sync"}
    assert "dbt.stg_flights_run" in graph["sync"]
    assert "dbt.flight_delay_features.run" in graph["dbt.stg_flights_run"]
    assert "dbt.flight_delay_features.test" in graph["dbt.flight_delay_features.run"]
    assert not [task for task in graph if "unrelated" in task]


def test_every_dbt_task_gates_the_mart_and_reports_its_rows(dags: dict[str, Any]) -> None:
    dag = dags["flight_delay__ingest"]
    of_dbt = {task.task_id for task in dag.tasks if task.task_id.startswith("dbt.")}
    ready, rows = dag.get_task("mart_is_ready"), dag.get_task("failing_rows")
    assert ready.upstream_task_ids == rows.upstream_task_ids == of_dbt
    assert ready.trigger_rule == "none_failed_min_one_success"
    assert rows.trigger_rule == "one_failed"
    assert rows.bash_command.endswith('failures flight_delay --since "$SINCE"')
    assert rows.env["SINCE"] == "{{ dag_run.start_date.isoformat() }}"
    assert [asset.name for asset in ready.outlets] == ["flight_delay/mart"]
    # The file or the rows are wrong: another try would only delay the message.
    assert dag.get_task("inspect").retries == 0
    assert dag.get_task("dbt.dbt_producer_watcher").retries == 0
    assert dag.get_task("sync").retries == 2


def test_training_passes_on_what_it_made_without_reading_it_as_shell(dags: dict[str, Any]) -> None:
    dag = dags["flight_delay__train"]
    assert edges(dag) == {
        "decide": {"snapshot"},
        "snapshot": {"train"},
        "train": {"evaluate"},
        "evaluate": {"register"},
        "register": set(),
    }
    train = dag.get_task("train")
    assert train.bash_command == (
        'exec "$ENVS_DIR/pipelines/bin/python" -m pipelines train flight_delay --snapshot "$SNAPSHOT" --reuse'
    )
    assert train.env["SNAPSHOT"] == "{{ ti.xcom_pull(task_ids='snapshot')['uri'] }}"
    assert train.env["PLATFORM_ACTOR"] == train.env["PLATFORM_PIPELINE_RUN"] == "airflow:{{ dag.dag_id }}/{{ run_id }}"
    assert train.append_env
    assert dag.get_task("register").env["RUN_ID"] == "{{ ti.xcom_pull(task_ids='train')['run_id'] }}"
    assert [asset.name for asset in dag.get_task("register").outlets] == ["flight_delay/candidate"]


def test_dbt_knows_which_pipeline_run_it_is_a_part_of(dags: dict[str, Any]) -> None:
    dbt = dags["flight_delay__ingest"].get_task("dbt.dbt_producer_watcher")
    assert dbt.env["PLATFORM_PIPELINE_RUN"] == "airflow:{{ dag.dag_id }}/{{ run_id }}"
    assert dbt.append_env


def test_the_last_line_of_a_step_is_its_result(dags: dict[str, Any]) -> None:
    task = dags["flight_delay__monitor"].get_task("monitor")
    assert task.output_processor('{"drift_share": 0.5}') == {"drift_share": 0.5}


def assets(timetable: Any) -> set[str]:
    condition = getattr(timetable, "asset_condition", None)
    return {asset.name for asset in condition.objects} if condition else set()


def test_new_data_starts_training_and_monitoring(dags: dict[str, Any]) -> None:
    assert assets(dags["flight_delay__train"].timetable) == {"flight_delay/mart", "flight_delay/retrain"}
    monitor = dags["flight_delay__monitor"].timetable
    assert assets(monitor) == {"flight_delay/mart"}
    assert monitor.timetable.expression == "0 6 * * *"
    ingest = dags["flight_delay__ingest"].timetable
    assert not assets(ingest)
    assert ingest.expression == "0 5 * * *"


def test_what_the_monitor_finds_starts_a_training_with_its_reason(dags: dict[str, Any]) -> None:
    dag = dags["flight_delay__monitor"]
    assert edges(dag) == {"monitor": {"retrain_due"}, "retrain_due": set()}
    due = dag.get_task("retrain_due")
    assert due.bash_command.endswith('due flight_delay --findings "$FINDINGS"')
    assert due.env["FINDINGS"] == "{{ ti.xcom_pull(task_ids='monitor') | tojson }}"
    emitted: dict[str, SimpleNamespace] = {asset: SimpleNamespace(extra={}) for asset in due.outlets}
    result = {"due": True, "trigger": "drift", "reason": "…", "evidence": {"version": 3}}
    due._post_execute_hook({"task": due, "outlet_events": emitted}, result)
    [(asset, event)] = emitted.items()
    assert (asset.name, event.extra) == ("flight_delay/retrain", {"trigger": "drift", "evidence": {"version": 3}})


def event(minute: int, **extra: Any) -> SimpleNamespace:
    return SimpleNamespace(extra=extra, timestamp=datetime(2024, 1, 1, 0, minute, tzinfo=UTC))


@pytest.mark.parametrize(
    ("run_type", "events", "trigger"),
    [
        ("manual", {}, "demand"),
        ("asset_materialization", {}, "demand"),
        ("scheduled", {}, "schedule"),
        ("asset_triggered", {"mart": [event(1)]}, "new_data"),
        ("asset_triggered", {"retrain": [event(1, trigger="drift")]}, "drift"),
        ("asset_triggered", {"retrain": [event(1, trigger="drift"), event(2, trigger="performance")]}, "performance"),
        ("asset_triggered", {"mart": [event(3)], "retrain": [event(1, trigger="drift")]}, "drift"),
    ],
)
def test_what_started_a_training_is_told_apart(
    factory: ModuleType, run_type: str, events: dict[str, list[Any]], trigger: str
) -> None:
    assert factory.trigger_of(run_type, events) == trigger


def test_the_first_task_of_a_training_decides_on_it(dags: dict[str, Any], factory: ModuleType) -> None:
    dag = dags["flight_delay__train"]
    decide = dag.get_task("decide")
    assert decide.bash_command.endswith('decide flight_delay --trigger "$TRIGGER" "$FORCE" --evidence "$EVIDENCE"')
    assert decide.env["FORCE"] == "{{ '--force' if params.force else '--no-force' }}"
    assert dag.params["force"] is False
    assert {"trigger_of", "evidence_of"} <= set(dag.user_defined_macros)
    found = {"mart": [event(2)], "retrain": [event(1, trigger="drift", evidence={"version": 2})]}
    assert factory.evidence_of(found) == {"version": 2}
    assert factory.evidence_of({"mart": [event(2)]}) == {}


def test_a_release_is_watched_at_its_poll_without_a_worker(dags: dict[str, Any]) -> None:
    dag = dags["flight_delay__release"]
    assert assets(dag.timetable) == {"flight_delay/candidate"}
    watch = dag.get_task("watch")
    assert (watch.mode, watch.poke_interval) == ("reschedule", 10)
    assert watch.timeout > 7 * 86400
    # Any exit code but 0 means to look again: a registry that is away must not end the watch.
    assert watch.retry_exit_code is None
    assert watch.env is None
    assert "export PLATFORM_ACTOR=" in watch.bash_command
    assert watch.bash_command.endswith("-m pipelines release flight_delay watch")


def test_a_name_from_airflow_is_quoted_for_the_shell(dags: dict[str, Any]) -> None:
    dag = dags["flight_delay__release"]
    line = dag.get_task("watch").bash_command.splitlines()[0]
    template = dag.get_template_env().from_string(line)
    shown = template.render(dag=dag, run_id="x$(touch y) z")
    assert shown == "export PLATFORM_ACTOR='airflow:flight_delay__release/x$(touch y) z'"


@pytest.mark.parametrize(("schedule", "cron"), [("'0 3 * * 1'", "0 3 * * 1"), ("null", None)])
def test_training_follows_the_declared_schedule(
    checkout: Path, declare: Callable[..., None], schedule: str, cron: str | None
) -> None:
    declare("  schedule: null ", f"  schedule: {schedule} ")
    dags = importlib.import_module("dags.factory").build(checkout)
    timetable = {dag.dag_id: dag for dag in dags}["flight_delay__train"].timetable
    assert assets(timetable) == {"flight_delay/mart", "flight_delay/retrain"}
    timed = getattr(timetable, "timetable", timetable)
    assert getattr(timed, "expression", None) == cron


def test_a_schedule_begins_with_its_next_time(checkout: Path, declare: Callable[..., None]) -> None:
    """And not with the time a minute ago, as Airflow would have a DAG begin that it sees for the first time."""
    now = datetime.now(UTC)
    passed = now - timedelta(minutes=1)
    declare("  schedule: null ", f"  schedule: '{passed.minute} {passed.hour} * * *' ")
    dags = importlib.import_module("dags.factory").build(checkout)
    declared = {dag.dag_id: dag for dag in dags}["flight_delay__train"].timetable
    timetable = decode_timetable(encode_timetable(declared))
    first = timetable.next_dagrun_info(
        last_automated_data_interval=None, restriction=TimeRestriction(earliest=None, latest=None, catchup=False)
    )
    assert first is not None
    assert first.run_after > now + timedelta(hours=23)


@pytest.mark.parametrize(
    ("left_out", "tasks"),
    [
        (("connections",), {"dbt", "mart_is_ready", "failing_rows"}),
        (("dbt_select",), {"inspect", "sync", "mart_is_ready"}),
        (("connections", "dbt_select"), {"mart_is_ready"}),
    ],
)
def test_a_project_without_files_or_dbt_has_no_such_tasks(
    factory: ModuleType, checkout: Path, left_out: tuple[str, ...], tasks: set[str]
) -> None:
    file = checkout / "projects/flight_delay/project.yaml"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.strip().startswith(left_out)))
    dag = next(factory.build(checkout))
    assert {task.partition(".")[0] for task in edges(dag)} == tasks
    assert [asset.name for asset in dag.get_task("mart_is_ready").outlets] == ["flight_delay/mart"]


def test_a_wrong_declaration_costs_only_its_own_dags(checkout: Path, declare: Callable[..., None]) -> None:
    declare("window_rows: 5000", "window_row: 5000", project="broken")
    made = runpy.run_path(str(DAGS / "projects.py"))
    assert {name for name in made if "__" in name.strip("_")} == ALL
    with pytest.raises(StepError) as error:
        runpy.run_path(str(DAGS / "declarations.py"))
    assert "projects/broken/project.yaml" in str(error.value)
    assert "monitoring.window_row: unknown key" in str(error.value)


def test_no_manifest_costs_only_the_dag_that_needs_it(factory: ModuleType, checkout: Path) -> None:
    (checkout.parent / "steps" / "dbt" / "manifest.json").unlink()
    made = list(factory.build(checkout))
    errors = [str(item) for item in made if isinstance(item, StepError)]
    assert len(errors) == 1
    assert "manifest.json" in errors[0]
    assert {dag.dag_id for dag in made if not isinstance(dag, StepError)} == ALL - {"flight_delay__ingest"}


def test_all_in_order_means_no_import_error(checkout: Path) -> None:
    runpy.run_path(str(DAGS / "declarations.py"))
    assert "dags.factory" in sys.modules
