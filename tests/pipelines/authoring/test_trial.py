"""What `platform test` makes of a declaration, which sources it samples, and which notebooks it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.authoring import notebooks
from pipelines.authoring.declaration import UNBOUNDED, shrink, write_checkout
from pipelines.authoring.sample import sources_of
from pipelines.authoring.scratch import NAME, Scratch
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Declaration, Project, load_project

TABLE = "platform_test_0123abcd.orders"
ENVS = Path(os.environ["PLATFORM_TEST_ENVS"])


def declared(**changes: dict[str, Any]) -> dict[str, Any]:
    """A declaration, with `changes` by section."""
    content: dict[str, Any] = {
        "description": "x",
        "data": {
            "connections": ["shop"],
            "dbt_select": "orders +customers",
            "table": "marts.orders",
            "entity_key": "order_id",
            "event_time": "ordered_at",
            "target": "is_returned",
            "target_known_after": "30d",
            "features": {"price": "number"},
        },
        "training": {
            "entry_point": "train:build",
            "parameters": {"max_iter": 150, "learning_rate": 0.1},
            "split": {"test_days": 10},
            "seed": 3,
        },
        "evaluation": {"metric": "roc_auc", "minimum": 0.6, "max_loss": 0.01},
        "release": {"strategy": "shadow", "steps": [{"share": 0, "requests": 5}]},
    }
    return {
        key: {**value, **changes.get(key, {})} if isinstance(value, dict) else value for key, value in content.items()
    }


def test_a_trial_takes_one_iteration_and_declares_what_it_leaves_out() -> None:
    small = Declaration.model_validate(shrink(declared(), TABLE))
    assert small.data.table == TABLE
    assert small.data.dbt_select == "+orders +customers", "what is upstream is not in the scratch schema"
    assert (small.data.connections, small.data.target_known_after) == ([], "0s")
    assert small.training.parameters == {"max_iter": 1, "learning_rate": 0.1}
    assert (small.training.seed, small.training.split.test_days) == (3, 10)
    assert (small.release.strategy, small.monitoring.minimum_predictions) == ("direct", 1)


@pytest.mark.parametrize(("metric", "minimum"), [("roc_auc", -UNBOUNDED), ("log_loss", UNBOUNDED)])
def test_the_gate_of_a_trial_measures_and_refuses_nothing(metric: str, minimum: float) -> None:
    evaluation = {
        "metric": metric,
        "max_calibration_error": 0.1,
        "max_latency_ms": 5.0,
        "missing_values": {"share": 0.2, "max_loss": 0.1},
    }
    small = Declaration.model_validate(shrink(declared(evaluation=evaluation), TABLE)).evaluation
    assert (small.minimum, small.max_calibration_error, small.max_latency_ms) == (minimum, UNBOUNDED, UNBOUNDED)
    assert small.missing_values is not None
    assert (small.missing_values.share, small.missing_values.max_loss) == (0.2, UNBOUNDED)


def test_a_search_is_tried_once_and_not_over_iterations() -> None:
    space = {"max_iter": {"low": 10, "high": 500}, "learning_rate": {"low": 0.01, "high": 0.3}}
    small = Declaration.model_validate(shrink(declared(training={"search": {"trials": 50, "space": space}}), TABLE))
    assert small.training.search is not None
    assert (small.training.search.trials, list(small.training.search.space)) == (1, ["learning_rate"])
    only = {"trials": 50, "space": {"max_iter": {"low": 10, "high": 500}}}
    assert Declaration.model_validate(shrink(declared(training={"search": only}), TABLE)).training.search is None


def test_the_checkout_of_a_trial_holds_the_project_under_the_scratchs_name(
    repo: Path, project: Project, tmp_path: Path
) -> None:
    write_checkout(repo, project, "platform_test_0123abcd", tmp_path / "scratch")
    copy = load_project(tmp_path / "scratch", "platform_test_0123abcd")
    assert copy.data.table == TABLE
    assert (copy.directory / "train.py").read_text() == (project.directory / "train.py").read_text()
    assert project.data.table == "marts.orders", "the project itself is as it was"


def test_the_name_of_a_scratch_is_no_projects_name_by_accident() -> None:
    assert NAME.fullmatch("platform_test_0123abcd")
    assert not NAME.fullmatch("platform_test_orders")


def test_only_what_the_mart_needs_is_sampled() -> None:
    def node(kind: str, name: str, *needs: str) -> dict[str, Any]:
        return {"resource_type": kind, "schema": "marts", "alias": name, "depends_on": {"nodes": list(needs)}}

    def source(name: str) -> dict[str, Any]:
        return {"schema": "raw", "identifier": name}

    manifest = {
        "nodes": {
            "model.p.orders": node("model", "orders", "model.p.stg_orders"),
            "model.p.stg_orders": node("model", "stg_orders", "source.p.orders"),
            "model.p.other": node("model", "other", "source.p.other"),
            "test.p.known": node("test", "known", "model.p.stg_orders", "source.p.countries"),
        },
        "sources": {f"source.p.{name}": source(name) for name in ("orders", "other", "countries")},
    }
    assert sources_of(manifest, "marts.orders") == [("raw", "orders"), ("raw", "countries")]


def notebook(*, output: bool = False, code: str = "project") -> str:
    outputs = [{"output_type": "stream", "name": "stdout", "text": ["seen\n"]}] if output else []
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "execution_count": None,
            "metadata": {"tags": tags},
            "outputs": shown,
            "source": [text],
        }
        for number, (text, tags, shown) in enumerate([('project = ""', ["parameters"], []), (code, [], outputs)])
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def scratch(tmp_path: Path, repo: Path, project: Project) -> Scratch:
    made = Scratch("platform_test_0123abcd", tmp_path / "scratch", connection=None)  # type: ignore[arg-type]
    (project.directory / "notebooks").mkdir()
    write_checkout(repo, project, made.name, made.repo)
    (made.repo / "projects" / made.name / "notebooks").mkdir(exist_ok=True)
    (made.directory / "state").mkdir()
    return made


@pytest.fixture
def with_notebooks(variables: dict[str, str]) -> Environment:
    """The environment of a step beside the one that runs notebooks."""
    return Environment.from_env(variables | {"ENVS_DIR": str(ENVS)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (notebook(output=True), "a notebook holds output"),
        (
            notebook(code="assert project == 'another', f'told {project}'"),
            "AssertionError: told platform_test_0123abcd",
        ),
    ],
)
def test_a_notebook_that_holds_output_or_fails_is_refused(
    with_notebooks: Environment, project: Project, scratch: Scratch, content: str, message: str
) -> None:
    (project.directory / "notebooks/look.ipynb").write_text(content)
    with pytest.raises(StepError, match=message):
        notebooks.run(with_notebooks, project, scratch, dict(os.environ))


def test_a_notebook_is_told_the_scratchs_project(
    with_notebooks: Environment, project: Project, scratch: Scratch
) -> None:
    (project.directory / "notebooks/look.ipynb").write_text(notebook(code=f"assert project == {scratch.name!r}"))
    assert notebooks.run(with_notebooks, project, scratch, dict(os.environ)) == "look.ipynb"


def test_without_its_environment_no_notebook_runs(env: Environment, project: Project, scratch: Scratch) -> None:
    with pytest.raises(StepError, match="not installed") as error:
        notebooks.run(env, project, scratch, dict(os.environ))
    assert error.value.do == "`platform install notebooks`"
