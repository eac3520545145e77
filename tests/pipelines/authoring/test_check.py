"""`platform check`: what it finds, without a service."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.authoring import check, features, new
from pipelines.authoring.dbt_offline import ask_dbt
from pipelines.authoring.entry_point import entry_point_problems
from pipelines.authoring.new import Wish
from pipelines.errors import StepError
from pipelines.project import load_project

REPO = Path(__file__).resolve().parents[3]
ENVS = Path(os.environ["PLATFORM_TEST_ENVS"])
MART = "model.platform.churn_features"
STAGED = "model.platform.stg_churn"
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


@pytest.fixture(scope="module")
def manifest(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What dbt says of the new project."""
    target = tmp_path_factory.mktemp("dbt")
    assert ask_dbt(fresh, target, ["+churn_features"]).selections == {"+churn_features": [MART, STAGED]}
    content: dict[str, Any] = json.loads((target / "manifest.json").read_text())
    return content


@pytest.fixture
def change(repo: Path) -> Callable[[str, str, str], None]:
    """Replace a piece of a file of the checkout."""

    def replace(file: str, old: str, new_text: str) -> None:
        text = (repo / file).read_text()
        assert old in text
        (repo / file).write_text(text.replace(old, new_text))

    return replace


def test_a_new_project_passes_and_is_left_as_it_is(repo: Path) -> None:
    before = sorted(str(path) for path in repo.rglob("*") if "__pycache__" not in path.parts)
    (found,) = check.run(repo, ENVS)
    parts = ["declaration", "connections", "entry point", "SQL", "features", "DAGs"]
    assert found.parts == {part: [] for part in parts}
    assert found.notes["DAGs"].startswith("churn__ingest, ")
    assert sorted(str(path) for path in repo.rglob("*") if "__pycache__" not in path.parts) == before


def test_each_project_is_told_its_own_mistakes(repo: Path, change: Callable[[str, str, str], None]) -> None:
    for name in ("other", "third"):
        shutil.copytree(repo / "projects/churn", repo / "projects" / name)
    change("projects/other/project.yaml", "seed: 1", "sed: 1")
    change("projects/third/project.yaml", "dbt_select:", "connections: [crm]\n  dbt_select:")
    change("projects/third/project.yaml", "on_new_data: true", "on_new_data: true\n  schedule: 99 * * * *")
    change("projects/third/project.yaml", "train:build", "train:make")
    found = {item.project: {part: text for part, text in item.parts.items() if text} for item in check.run(repo, ENVS)}
    assert found["churn"] == {}
    assert list(found["other"]) == ["declaration"]
    assert "training.sed: unknown key (did you mean seed?)" in found["other"]["declaration"][0]
    assert list(found["third"]) == ["connections", "entry point", "DAGs"]
    assert "airbyte/connections/crm.yaml" in found["third"]["connections"][0]


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (("marts/churn_features.sql", "stg_churn", "stg_nothing"), "stg_nothing"),
        (("staging/stg_churn.sql", "select\n", "selec\n"), 'syntax error at or near "selec"'),
    ],
)
def test_sql_that_cannot_run_is_found(
    repo: Path, tmp_path: Path, change: Callable[[str, str, str], None], piece: tuple[str, str, str], message: str
) -> None:
    file, old, new_text = piece
    change(f"dbt_project/models/churn/{file}", old, new_text)
    (found,) = check.run(repo, tmp_path / "no-environments", "churn")
    assert message in found.parts["SQL"][0]
    assert "DAGs" not in found.parts, "they are made of the models"


def test_sql_that_only_postgres_reads_can_be_vouched_for(manifest: dict[str, Any]) -> None:
    node = manifest["nodes"][STAGED]
    assert "stg_churn.sql" in check.syntax_problem(node, "select a #>> '{b}' from c")
    vouched = node | {"config": {"meta": {"check_syntax": False}}}
    assert check.syntax_problem(vouched, "select a #>> '{b}' from c") == ""


def test_a_selection_of_nothing_is_found(fresh: Path, tmp_path: Path) -> None:
    offline = ask_dbt(fresh, tmp_path, ["+churn_feature"])
    assert offline.selections == {"+churn_feature": []}


@pytest.mark.parametrize(
    ("old", "new_text", "message"),
    [
        ("train:build", "train:make", "has no function make"),
        ("max_iter: 100", "max_itr: 100", "unexpected keyword argument 'max_itr'"),
        (
            "  split:",
            "  search: {space: {depth: {low: 1, high: 9}}}\n  split:",
            "training.search.space.depth: with depth = 1",
        ),
    ],
)
def test_an_entry_point_that_builds_nothing_is_found(
    repo: Path, change: Callable[[str, str, str], None], old: str, new_text: str, message: str
) -> None:
    assert entry_point_problems(load_project(repo, "churn")) == []
    change(DECLARATION, old, new_text)
    (problem,) = entry_point_problems(load_project(repo, "churn"))
    assert message in problem


def test_an_entry_point_that_ends_the_process_is_found(repo: Path, change: Callable[[str, str, str], None]) -> None:
    change("projects/churn/train.py", '"""The model', 'raise SystemExit(3)\n"""The model')
    (problem,) = entry_point_problems(load_project(repo, "churn"))
    assert "ends the process (3)" in problem


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (("  amount: number", "  sum: number"), "data.features.sum: marts.churn_features has no column sum"),
        (("  amount: number", "  amount: boolean"), "amount is double precision in the contract"),
        (("target: target", "target: due"), "data.target: marts.churn_features has no column due"),
        (("task: classification", "task: regression"), "target is boolean in the contract of marts.churn_features"),
        (("event_time: happened_at", "event_time: category"), "category is text in the contract"),
        (("table: marts.churn_features", "table: marts.churn"), "no dbt model builds marts.churn"),
    ],
)
def test_features_are_held_to_the_contract_of_the_mart(
    repo: Path, change: Callable[[str, str, str], None], manifest: dict[str, Any], piece: tuple[str, str], message: str
) -> None:
    assert features.problems(load_project(repo, "churn"), manifest, [MART, STAGED]) == []
    change(DECLARATION, "    category: category\n", "")
    if "regression" in piece[1]:
        change(DECLARATION, "metric: roc_auc", "metric: r2")
    change(DECLARATION, *piece)
    problems = features.problems(load_project(repo, "churn"), manifest, [MART, STAGED])
    assert message in problems[0]


def test_a_mart_without_contract_or_outside_the_selection_is_found(repo: Path, manifest: dict[str, Any]) -> None:
    project = load_project(repo, "churn")
    (problem,) = features.problems(project, manifest, [STAGED])
    assert "does not build marts.churn_features" in problem
    loose = {**manifest["nodes"][MART], "contract": {"enforced": False}}
    (problem,) = features.problems(project, {"nodes": {**manifest["nodes"], MART: loose}}, [MART])
    assert "no enforced contract" in problem


def test_a_project_that_is_not_there_is_one_message(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(StepError, match="no project 'chrun'"):
        check.run(repo, tmp_path, "chrun")
