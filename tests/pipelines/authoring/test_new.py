"""What `platform new` guesses, and what it writes."""

from __future__ import annotations

import ast
import shutil
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.authoring import new
from pipelines.authoring.facts import Column, read_csv
from pipelines.authoring.files import render
from pipelines.authoring.guess import guess
from pipelines.authoring.new import Wish, write
from pipelines.authoring.plan import example, from_roles, identifier
from pipelines.errors import StepError
from pipelines.ingestion.connections import load_connection
from pipelines.project import Task, load_project
from pipelines.training.entry_point import build_model

REPO = Path(__file__).resolve().parents[3]
ROWS = 1000


def column(name: str, kind: Any, distinct: int = 50, **more: Any) -> Column:
    facts = {"rows": ROWS, "known": ROWS, "low": None, "high": None} | more
    return Column(name=name, type=facts.pop("type", kind), kind=kind, distinct=distinct, **facts)


CUSTOMER = column("customer_id", "text", ROWS)
BEGAN = column("began_at", "time", 700, low=datetime(2024, 1, 1), high=datetime(2024, 12, 31))
CHURNED = column("is_churned", "boolean", 2)
PRICE = column("price", "number", 400, low=0.5, high=90.0)
TOWN = column("town", "text", 30)
TABLE = [CUSTOMER, CHURNED, BEGAN, TOWN, PRICE]


def test_the_roles_are_guessed_from_names_types_and_counts() -> None:
    roles = guess(TABLE)
    assert (roles.key, roles.time, roles.target) == (CUSTOMER, BEGAN, CHURNED)
    assert roles.task == "classification"
    assert roles.features == ((TOWN, "category"), (PRICE, "number"))
    assert "target: is_churned (guessed)" in roles.notes


def test_without_a_telling_name_the_last_column_that_fits_is_the_target() -> None:
    pounds = column("pounds", "number", 300)
    assert guess([CUSTOMER, BEGAN, PRICE, TOWN, pounds]).target == pounds


@pytest.mark.parametrize(
    ("task", "target", "found"),
    [
        ("regression", None, "price"),
        (None, "price", "price"),
        ("classification", None, "is_churned"),
    ],
)
def test_what_is_said_is_not_guessed(task: Task | None, target: str | None, found: str) -> None:
    roles = guess(TABLE, task=task, target=target)
    assert roles.target.name == found
    assert roles.task == ("regression" if found == "price" else "classification")


def test_what_can_be_no_feature_is_left_out_and_told() -> None:
    roles = guess(
        [*TABLE, column("comment", "text", 900), column("ended", "date"), column("extra", "other", type="jsonb")]
    )
    assert [item.name for item, _ in roles.features] == ["town", "price"]
    assert roles.notes[-1] == "left out: comment (text with 900 different values), ended (date), extra (jsonb)"


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ([CHURNED, BEGAN, TOWN], {}, "no column looks like the entity key"),
        ([CUSTOMER, CHURNED, TOWN], {}, "no column looks like the event time"),
        ([CUSTOMER, BEGAN, TOWN], {}, "no column looks like the target"),
        ([CUSTOMER, BEGAN, CHURNED], {}, "no column is left that could be a feature"),
        (TABLE, {"key": "town"}, "30 different values and 0 missing ones in 1000 rows"),
        (TABLE, {"key": "nowhere"}, "there is no such column left"),
        (TABLE, {"task": "classification", "target": "price"}, "the column cannot be the target"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_with_the_reason(
    columns: list[Column], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepError, match=message):
        guess(columns, **options)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("price", "price"), ("MedInc", "med_inc"), ("Ave. Rooms", "ave_rooms"), ("2nd", "_2nd"), ("order", "order_")],
)
def test_names_become_those_that_declarations_take(name: str, plain: str) -> None:
    assert identifier(name) == plain


def test_two_columns_that_would_be_one_are_refused() -> None:
    with pytest.raises(StepError, match="two columns would be called price"):
        from_roles("churn", "crm.customers", guess([*TABLE, column("Price", "number")]))


def checkout(directory: Path) -> Path:
    for part in ("projects", "airbyte", "dbt_project"):
        shutil.copytree(REPO / part, directory / part, ignore=shutil.ignore_patterns("target", "logs", "__pycache__"))
    return directory


def made(directory: Path, **wish: Any) -> Path:
    """A checkout with the new project `churn`."""
    new.run(checkout(directory), Wish("churn", **wish))
    return directory


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_an_example_is_a_project_that_can_be_loaded_and_built(tmp_path: Path, task: Task) -> None:
    project = load_project(made(tmp_path, task=task), "churn")
    assert project.task == task
    model = build_model(project)
    assert hasattr(model, "predict_proba") == (task == "classification")


def test_the_templates_are_complete_modules() -> None:
    for task in ("classification", "regression"):
        text = render(example("churn", task))["projects/churn/train.py"]
        assert [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)] == ["build"]


def test_what_was_missing_in_the_table_is_nullable() -> None:
    declared = {
        known: yaml.safe_load(
            render(from_roles("churn", "crm.customers", guess([*TABLE, column("size", "number", known=known)])))[
                "projects/churn/project.yaml"
            ]
        )["data"].get("nullable")
        for known in (ROWS, ROWS - 1)
    }
    assert declared == {ROWS: None, ROWS - 1: ["size"]}


def test_the_models_name_and_type_every_column_of_the_table() -> None:
    table = [*TABLE, column("MedInc", "number", 100)]
    files = render(from_roles("churn", "crm.customers", guess(table)))
    staging = files["dbt_project/models/churn/staging/stg_churn.sql"]
    assert "from {{ source('churn', 'customers') }}" in staging
    assert '"MedInc"::double precision as med_inc' in staging
    (mart,) = yaml.safe_load(files["dbt_project/models/churn/marts/marts.yml"])["models"]
    assert mart["config"] == {"contract": {"enforced": True}}
    assert {item["name"]: item["data_type"] for item in mart["columns"]} == {
        "customer_id": "text",
        "began_at": "timestamp",
        "town": "text",
        "price": "double precision",
        "med_inc": "double precision",
        "is_churned": "boolean",
    }
    (staged,) = yaml.safe_load(files["dbt_project/models/churn/staging/staging.yml"])["models"]
    assert staged["columns"][0]["data_tests"] == ["unique", "not_null"]
    (source,) = yaml.safe_load(files["dbt_project/models/churn/sources.yml"])["sources"]
    assert (source["schema"], source["tables"][0]["name"]) == ("crm", "customers")


def test_the_test_window_and_the_rows_needed_follow_the_table() -> None:
    small = [Column(**{**vars(item), "rows": 300, "known": 300, "distinct": min(item.distinct, 300)}) for item in TABLE]
    plan = from_roles("churn", "crm.customers", guess(small))
    assert (plan.test_days, plan.minimum_rows) == (73, 150)
    assert from_roles("churn", "crm.customers", guess(TABLE)).minimum_rows == 500


@pytest.mark.parametrize("what", ["projects/churn", "dbt_project/models/churn", "airbyte/sources/churn.yaml"])
def test_nothing_is_overwritten(tmp_path: Path, what: str) -> None:
    repo = checkout(tmp_path)
    (repo / what).mkdir()
    before = sorted(repo.rglob("*"))
    with pytest.raises(StepError, match="is there already; nothing was written") as error:
        new.run(repo, Wish("churn"))
    assert error.value.where == what
    assert sorted(repo.rglob("*")) == before


@pytest.mark.parametrize("name", ["Churn", "1st", "a-b", "../x", "x" * 41, ""])
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StepError, match="cannot be a project's name"):
        new.run(tmp_path, Wish(name))
    assert not list(tmp_path.iterdir())


def test_options_about_columns_need_a_table(tmp_path: Path) -> None:
    with pytest.raises(StepError, match="name columns of a table"):
        new.run(checkout(tmp_path), Wish("churn", target="x"))


def test_what_was_written_is_taken_back_when_the_rest_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("a file, so no directory can be made")
    with pytest.raises(OSError, match="b"):
        write(tmp_path, {"a/deep/one": "1", "b/two": "2"})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


CSV = "plant_id,on_day,height,kind,grown\n" + "".join(
    f"p{number},2024-01-{1 + number % 28:02},{number / 3},{'ab'[number % 2]},{number * 1.5}\n" for number in range(60)
)


def test_a_file_brings_a_connection_that_holds_for_it(tmp_path: Path) -> None:
    file = tmp_path / "plants.csv"
    file.write_text(CSV)
    repo = checkout(tmp_path / "repo")
    result = new.run(repo, Wish("churn", str(file)))
    assert "airbyte/connections/churn.yaml" in result["files"]
    project = load_project(repo, "churn")
    assert (project.task, project.data.target, project.data.connections) == ("regression", "grown", ["churn"])
    names = ("S3_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "LANDING_BUCKET")
    names += ("WAREHOUSE_HOST", "WAREHOUSE_PORT", "WAREHOUSE_DATABASE", "WAREHOUSE_USER", "WAREHOUSE_PASSWORD")
    connection = load_connection(repo, "churn", dict.fromkeys(names, "1"))
    (stream,) = connection.streams
    assert stream.columns == {
        "plant_id": "string",
        "on_day": "date",
        "height": "number",
        "kind": "string",
        "grown": "number",
    }
    assert stream.primary_key == ["plant_id"]
    assert connection.source_stream(stream).reads("churn/plants.csv")


def test_the_columns_of_a_file_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "plants.csv"
    file.write_text(CSV + "p99,2024-01-01,,a,\n")
    columns, _ = read_csv(file)
    assert columns[0].identifies
    assert (columns[1].low, columns[1].high) == (date(2024, 1, 1), date(2024, 1, 28))
    assert (columns[2].rows, columns[2].known) == (61, 60)
    assert columns[3].distinct == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Plant Id,day\n1,2\n", "no column can have: Plant Id"),
        ("plant_id,day\n", "has no rows"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "plants.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StepError, match=message):
        read_csv(file)
