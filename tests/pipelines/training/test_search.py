"""The search for parameters, on made-up rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from pipelines.data.dataset import Snapshot, Window, split_by_time
from pipelines.errors import StepError
from pipelines.project import Project, Range, Value, load_project
from pipelines.training.search import Found, Trial, search, suggest

SPACE = "space: {max_iter: {low: 5, high: 40}, learning_rate: {low: 0.01, high: 0.3, log: true}}"
LINEAR = """
from sklearn.linear_model import Ridge
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline

def build(parameters, features, seed):
    if parameters["alpha"] > 5:
        raise ValueError("too strong")
    if parameters["alpha"] < 0.2:
        raise MemoryError
    return make_pipeline(make_column_transformer(("passthrough", ["price", "items"])), Ridge(**parameters))
"""


@pytest.fixture
def searching(repo: Path, declare: Callable[[str, str], None]) -> Callable[[str], Project]:
    def make(space: str, trials: int = 6) -> Project:
        declare("  seed: 3", f"  search: {{trials: {trials}, {space}}}\n  seed: 3")
        return load_project(repo, "shop")

    return make


def found(project: Project, train: Window, **changes: object) -> tuple[Found, list[Trial]]:
    told: list[Trial] = []
    assert project.training.search is not None
    rules = project.training.search.model_copy(update=changes)
    return search(project, rules, train, "s3://x", told.append), told


def test_the_same_rows_and_seed_give_the_same_search(searching: Callable[..., Project], snapshot: Snapshot) -> None:
    project = searching(SPACE)
    train, _ = split_by_time(snapshot, project)
    best, trials = found(project, train)
    again, repeated = found(project, train)
    assert best == again
    assert [trial.parameters for trial in trials] == [trial.parameters for trial in repeated]
    assert [trial.value for trial in trials] == [trial.value for trial in repeated]
    assert best.trials == len(trials) == 6
    assert best.value == max(trial.value or 0 for trial in trials)
    assert best.parameters == trials[best.best].parameters
    assert len({trial.parameters["learning_rate"] for trial in trials}) == 6
    other, _ = found(project.model_copy(update={"training": project.training.model_copy(update={"seed": 4})}), train)
    assert other.parameters != best.parameters


def test_the_first_trial_takes_what_is_declared(searching: Callable[..., Project], snapshot: Snapshot) -> None:
    project = searching(SPACE, trials=2)
    train, _ = split_by_time(snapshot, project)
    _, trials = found(project, train)
    assert trials[0].parameters["max_iter"] == 10
    assert trials[1].parameters["max_iter"] != 10


def test_a_trial_that_fails_is_told_and_the_best_is_the_least_error(
    searching: Callable[..., Project], snapshot: Snapshot, declare: Callable[[str, str], None], repo: Path
) -> None:
    (repo / "projects/shop/train.py").write_text(LINEAR)
    declare("metric: roc_auc", "metric: rmse")
    declare("description:", "task: regression\ndescription:")
    declare("{max_iter: 10}", "{alpha: 1.0}")
    project = searching("space: {alpha: {choices: [0.1, 0.5, 1.0, 4.0, 10.0]}}", trials=12)
    train, _ = split_by_time(snapshot, project)
    best, trials = found(project, train)
    errors = {trial.parameters["alpha"]: trial.error for trial in trials}
    assert "too strong" in (errors[10.0] or "")
    assert "more than the 4096 MB of memory" in (errors[0.1] or "")
    assert best.value == min(trial.value for trial in trials if trial.value is not None)


def test_a_search_without_a_trial_that_works_is_refused(searching: Callable[..., Project], snapshot: Snapshot) -> None:
    project = searching("space: {no_such_parameter: {low: 1, high: 5}}", trials=2)
    train, _ = split_by_time(snapshot, project)
    with pytest.raises(StepError, match=r"every one of 2 trials failed.*no_such_parameter") as refusal:
        found(project, train)
    assert "training.search.space" in refusal.value.do


def test_a_search_ends_in_time_after_one_trial_at_least(
    searching: Callable[..., Project], snapshot: Snapshot, capsys: pytest.CaptureFixture[str]
) -> None:
    project = searching(SPACE)
    train, _ = split_by_time(snapshot, project)
    best, trials = found(project, train, timeout="0s")
    assert best.trials == len(trials) == 1
    assert "ended after 0s with 1 of 6 trials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("room", "kind", "low", "high"),
    [
        (Range(low=1, high=9), int, 1, 9),
        (Range(low=1, high=1000, log=True), int, 1, 1000),
        (Range(low=0.5, high=2), float, 0.5, 2),
        (Range(low=0.001, high=1.0, log=True), float, 0.001, 1),
    ],
)
def test_a_space_gives_values_of_its_kind(room: Range, kind: type, low: float, high: float) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    values: list[Value] = [suggest(study.ask(), "x", room) for _ in range(30)]
    assert {type(value) for value in values} == {kind}
    assert all(isinstance(value, int | float) and low <= value <= high for value in values)
    assert len(set(values)) > 5


def test_choices_keep_their_type() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    choices = ["gini", None, True, 3, 0.5]
    assert {repr(suggest(study.ask(), "x", Range(choices=choices))) for _ in range(60)} == {repr(x) for x in choices}
