from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.errors import StepError
from pipelines.project import load_project, project_names

REPO = Path(__file__).resolve().parents[3]
Declare = Callable[[str, str], None]


def test_the_sample_is_declared_correctly() -> None:
    project = load_project(REPO, "flight_delay")
    assert project.name == "flight_delay"
    assert project.data.features["carrier"] == "category"
    assert project.file == REPO / "projects/flight_delay/project.yaml"


def test_what_is_left_out_has_defaults(repo: Path) -> None:
    project = load_project(repo, "shop")
    assert project.triggers.on_new_data
    assert project.monitoring.drift.number.method == "psi"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("  seed: 3", "  sede: 3", "training.sede: unknown key (did you mean seed?); allowed: entry_point, parameters"),
        ("  seed: 3\n", "", "training.seed: this key is missing"),
        ("  seed: 3", '  seed: "3"', "training.seed: Input should be a valid integer, not '3'"),
        ("metric: roc_auc", "metric: accuracy", "evaluation.metric: Input should be 'roc_auc'"),
        ("price: number", "price: float", "data.features.price: Input should be 'category', 'number'"),
        ("entry_point: train:build", "entry_point: train.build", "training.entry_point:"),
        ("table: marts.orders", "table: orders", "data.table:"),
        ("target: is_returned", "target: price", "data: 'price' is the target: it cannot be a feature too"),
        ("  features:", "  nullable: [price, weight]\n  features:", "data: nullable: weight is no feature"),
        ("event_time: ordered_at", "event_time: order_id", "data: entity_key, event_time and target must be three"),
        ("{test_days: 10}", "{test_days: 10, test_months: 1}", "training.split: give exactly one of"),
        ("{test_days: 10}", "{}", "training.split: give exactly one of"),
        ("{test_days: 10}", "{test_days: 0}", "training.split.test_days: Input should be greater than 0"),
        ("slices: [country]", "slices: [city]", "evaluation.slices names what is not a feature: city"),
        ("  seed: 3", "  seed: 3\n  seed: 4", "the key 'seed' stands here twice"),
        ("connections: [shop]", "connections: [shop", "project.yaml, line "),
        ("description: A made-up project", "name: other", "name: unknown key"),
    ],
)
def test_a_mistake_is_told_with_file_and_key(repo: Path, declare: Declare, old: str, new: str, told: str) -> None:
    declare(old, new)
    with pytest.raises(StepError) as refusal:
        load_project(repo, "shop")
    assert told in str(refusal.value)
    assert "projects/shop/project.yaml" in str(refusal.value)
    assert refusal.value.do


def test_all_mistakes_are_told_at_once(repo: Path, declare: Declare) -> None:
    declare("  seed: 3", "  seed: -1")
    declare("minimum: 0.6", "minimum: much")
    with pytest.raises(StepError) as refusal:
        load_project(repo, "shop")
    assert "training.seed" in str(refusal.value)
    assert "evaluation.minimum" in str(refusal.value)


@pytest.mark.parametrize("content", ["", "just text", "- a list"])
def test_a_file_that_is_no_declaration_is_refused(repo: Path, content: str) -> None:
    (repo / "projects/shop/project.yaml").write_text(content)
    with pytest.raises(StepError, match=r"projects/shop/project\.yaml"):
        load_project(repo, "shop")


@pytest.mark.parametrize("name", ["shops", "../shop", "Shop", ""])
def test_an_unknown_project_is_told_with_the_known_ones(repo: Path, name: str) -> None:
    with pytest.raises(StepError, match=r"projects with a project\.yaml: shop"):
        load_project(repo, name)


def test_projects_are_found(repo: Path) -> None:
    (repo / "projects/notes").mkdir()
    assert project_names(repo) == ["shop"]


def test_the_declaration_is_light_to_import() -> None:
    """Airflow imports it at every parse of its DAGs, in an environment without the data libraries."""
    program = (
        "import sys, pipelines.project; "
        "heavy = {'pandas', 'numpy', 'sklearn', 'mlflow', 'boto3', 'psycopg', 'click'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
