"""The DAGs that a project's declaration turns into."""

import importlib
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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


def test_a_project_has_three_dags_with_its_tags_and_docs(dags: dict[str, Any]) -> None:
    assert sorted(dags) == ["flight_delay__ingest", "flight_delay__monitor", "flight_delay__train"]
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
    assert edges(dag) == {"snapshot": {"train"}, "train": {"evaluate"}, "evaluate": {"register"}, "register": set()}
    train = dag.get_task("train")
    assert train.bash_command == (
        'exec "$ENVS_DIR/pipelines/bin/python" -m pipelines train flight_delay --snapshot "$SNAPSHOT" --reuse'
    )
    assert train.env["SNAPSHOT"] == "{{ ti.xcom_pull(task_ids='snapshot')['uri'] }}"
    assert train.env["PLATFORM_ACTOR"] == "airflow:{{ dag.dag_id }}/{{ run_id }}"
    assert train.append_env
    assert dag.get_task("register").env["RUN_ID"] == "{{ ti.xcom_pull(task_ids='train')['run_id'] }}"
    assert [asset.name for asset in dag.get_task("register").outlets] == ["flight_delay/model"]


def test_the_last_line_of_a_step_is_its_result(dags: dict[str, Any]) -> None:
    task = dags["flight_delay__monitor"].get_task("monitor")
    assert task.output_processor('{"drift_share": 0.5}') == {"drift_share": 0.5}


def assets(timetable: Any) -> list[str]:
    condition = getattr(timetable, "asset_condition", None)
    return [asset.name for asset in condition.objects] if condition else []


def test_new_data_starts_training_and_monitoring(dags: dict[str, Any]) -> None:
    assert assets(dags["flight_delay__train"].timetable) == ["flight_delay/mart"]
    monitor = dags["flight_delay__monitor"].timetable
    assert assets(monitor) == ["flight_delay/mart"]
    assert monitor.timetable.expression == "0 6 * * *"
    ingest = dags["flight_delay__ingest"].timetable
    assert not assets(ingest)
    assert ingest.expression == "0 5 * * *"


@pytest.mark.parametrize(
    ("triggers", "expected_assets", "cron"),
    [
        ("on_new_data: true\n  schedule: '0 3 * * 1'", ["flight_delay/mart"], "0 3 * * 1"),
        ("on_new_data: false\n  schedule: '0 3 * * 1'", [], "0 3 * * 1"),
        ("on_new_data: false\n  schedule: null", [], None),
    ],
)
def test_training_follows_the_declared_triggers(
    checkout: Path, declare: Callable[..., None], triggers: str, expected_assets: list[str], cron: str | None
) -> None:
    declare("on_new_data: true\n  schedule: null", triggers)
    dags = importlib.import_module("dags.factory").build(checkout)
    timetable = {dag.dag_id: dag for dag in dags}["flight_delay__train"].timetable
    assert assets(timetable) == expected_assets
    timed = getattr(timetable, "timetable", timetable)
    assert getattr(timed, "expression", None) == cron


def test_a_wrong_declaration_costs_only_its_own_dags(checkout: Path, declare: Callable[..., None]) -> None:
    declare("window_rows: 5000", "window_row: 5000", project="broken")
    made = runpy.run_path(str(DAGS / "projects.py"))
    assert {name for name in made if "__" in name.strip("_")} == {
        "flight_delay__ingest",
        "flight_delay__monitor",
        "flight_delay__train",
    }
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
    assert {dag.dag_id for dag in made if not isinstance(dag, StepError)} == {
        "flight_delay__train",
        "flight_delay__monitor",
    }


def test_all_in_order_means_no_import_error(checkout: Path) -> None:
    runpy.run_path(str(DAGS / "declarations.py"))
    assert "dags.factory" in sys.modules
