"""`platform check`: what it finds, without a service. Airflow's environment has tests of its own (tests/dags)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.authoring import check, new
from pipelines.authoring.check import Findings
from pipelines.authoring.new import Wish
from pipelines.errors import StepError

REPO = Path(__file__).resolve().parents[2]
ENVS = Path(os.environ["PLATFORM_TEST_ENVS"])
MODELS = "dbt_project/models/churn"
DECLARATION = "projects/churn/project.yaml"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose only project is a new one."""
    repo = tmp_path_factory.mktemp("fresh")
    for part in ("airbyte", "dbt_project"):
        shutil.copytree(REPO / part, repo / part, ignore=shutil.ignore_patterns("target", "logs", "flight_delay"))
    new.run(repo, Wish("churn"))
    return repo


@pytest.fixture
def repo(fresh: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(fresh, tmp_path / "repo"))


@pytest.fixture
def change(repo: Path) -> Callable[[str, str, str], None]:
    """Replace a piece of a file of the checkout."""

    def replace(file: str, old: str, new_text: str) -> None:
        text = (repo / file).read_text()
        assert old in text
        (repo / file).write_text(text.replace(old, new_text))

    return replace


def findings(repo: Path, tmp_path: Path) -> Findings:
    """Of the project, in all that needs no Airflow."""
    (found,) = check.run(repo, tmp_path / "no-environments", "churn")
    assert found.parts.pop("DAGs", None) in (None, ["the environment airflow is not installed: `platform install`"])
    return found


def test_a_new_project_passes(repo: Path) -> None:
    (found,) = check.run(repo, ENVS)
    assert found.parts == {
        "declaration": [],
        "connections": [],
        "entry point": [],
        "SQL": [],
        "features": [],
        "DAGs": [],
    }
    assert found.notes["DAGs"].startswith("churn__ingest, ")


@pytest.mark.parametrize(
    ("file", "old", "new_text", "part", "message"),
    [
        (DECLARATION, "seed: 1", "sed: 1", "declaration", "training.sed: unknown key (did you mean seed?)"),
        (DECLARATION, "dbt_select:", "connections: [crm]\n  dbt_select:", "connections", "airbyte/connections/crm.yaml"),
        (DECLARATION, "train:build", "train:make", "entry point", "has no function make"),
        (DECLARATION, "max_iter: 100", "max_itr: 100", "entry point", "unexpected keyword argument 'max_itr'"),
        (
            DECLARATION,
            "  split:",
            "  search: {space: {depth: {low: 1, high: 9}}}\n  split:",
            "entry point",
            "training.search.space.depth: with depth = 1",
        ),
        ("projects/churn/train.py", "import Any", "import Nothing", "entry point", "cannot import name 'Nothing'"),
        ("projects/churn/train.py", '"""The model', 'raise SystemExit(3)\n"""The model', "entry point", "ends the process"),
        (f"{MODELS}/marts/churn_features.sql", "stg_churn", "stg_nothing", "SQL", "stg_nothing"),
        (f"{MODELS}/staging/stg_churn.sql", "select\n", "selec\n", "SQL", 'syntax error at or near "selec"'),
        (f"{MODELS}/staging/stg_churn.sql", "{{ source(", "{{ sauce(", "SQL", "sauce"),
        (DECLARATION, "+churn_features", "+churn_feature", "SQL", "'+churn_feature' names no model"),
        (DECLARATION, "  amount: number", "  sum: number", "features", "has no column sum"),
        (DECLARATION, "  amount: number", "  amount: boolean", "features", "double precision in the contract"),
        (DECLARATION, "target: target", "target: amount_due", "features", "data.target: marts.churn_features has no column"),
        (DECLARATION, "table: marts.churn_features", "table: marts.churn", "features", "no dbt model builds marts.churn"),
        (DECLARATION, "+churn_features", "stg_churn", "features", "does not build marts.churn_features"),
        (f"{MODELS}/marts/marts.yml", "enforced: true", "enforced: false", "features", "no enforced contract"),
    ],
)
def test_a_mistake_is_found_and_named(
    repo: Path,
    tmp_path: Path,
    change: Callable[[str, str, str], None],
    file: str,
    old: str,
    new_text: str,
    part: str,
    message: str,
) -> None:
    change(file, old, new_text)
    found = findings(repo, tmp_path)
    assert not found.passed
    wrong = {name: problems for name, problems in found.parts.items() if problems}
    assert list(wrong) == [part]
    assert message in "\n".join(wrong[part])


def test_sql_that_only_postgres_reads_can_be_vouched_for(
    repo: Path, tmp_path: Path, change: Callable[[str, str, str], None]
) -> None:
    change(f"{MODELS}/staging/stg_churn.sql", '"category"::text', "(\"category\"::jsonb #>> '{a,b}')")
    assert not findings(repo, tmp_path).passed
    change(f"{MODELS}/staging/staging.yml", "  columns:", "  config: {meta: {check_syntax: false}}\n  columns:")
    assert findings(repo, tmp_path).passed


def test_a_dag_that_cannot_be_made_is_found(repo: Path, change: Callable[[str, str, str], None]) -> None:
    change(DECLARATION, "on_new_data: true", "on_new_data: true\n  schedule: 99 * * * *")
    (found,) = check.run(repo, ENVS)
    assert found.parts["DAGs"]


def test_a_wrong_project_does_not_hide_the_others(repo: Path, tmp_path: Path) -> None:
    shutil.copytree(repo / "projects/churn", repo / "projects/other")
    (repo / "projects/other/project.yaml").write_text("description: nothing else\n")
    found = {item.project: item for item in check.run(repo, tmp_path / "no-environments")}
    assert "this key is missing" in found["other"].parts["declaration"][0]
    assert not found["churn"].parts["features"]


def test_a_project_that_is_not_there_is_one_message(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no project 'chrun'"):
        check.run(repo, tmp_path, "chrun")


def test_checking_leaves_the_checkout_as_it_is(repo: Path, tmp_path: Path) -> None:
    before = sorted(str(path) for path in repo.rglob("*") if "__pycache__" not in path.parts)
    findings(repo, tmp_path)
    assert sorted(str(path) for path in repo.rglob("*") if "__pycache__" not in path.parts) == before


def test_a_result_is_json(repo: Path, tmp_path: Path) -> None:
    assert json.loads(json.dumps(findings(repo, tmp_path).parts))["SQL"] == []
