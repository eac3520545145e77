"""A project's model fitted and asked: whatever its code does wrong is one message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import skops.io
from sklearn.inspection import permutation_importance

from pipelines.data.dataset import Window
from pipelines.errors import StepError
from pipelines.models import scoring
from pipelines.project import Project, Value
from pipelines.training.entry_point import build_model, place
from pipelines.training.metrics import LOWER_IS_BETTER, Array, figure

IMPORTANCE_ROWS = 3000


def fit(project: Project, parameters: Mapping[str, Value], window: Window) -> Any:
    """The project's model with `parameters`, fitted on `window`; StepError if that cannot be done."""
    model = build_model(project, parameters)
    try:
        model.fit(window.x, window.y)
    except MemoryError:
        raise
    except Exception as error:
        raise _failure("the model cannot be fitted", error, project) from error
    return model


def ask(project: Project, model: Any, x: pd.DataFrame) -> Array:
    """The answers of the fitted `model` for `x`, checked as `scoring.predict` does."""
    try:
        found = scoring.answers(model, x)
    except MemoryError:
        raise
    except Exception as error:
        raise _failure("the model cannot be asked", error, project) from error
    return scoring.checked(found, len(x), f"projects/{project.name}")


def ask_without(project: Project, model: Any, x: pd.DataFrame) -> None:
    """StepError if the fitted `model` cannot answer a row of `x` whose nullable features are missing."""
    row = x.head(1).copy()
    for name in project.data.nullable:
        row[name] = None if row[name].dtype == object else float("nan")
    try:
        ask(project, model, row)
    except StepError as error:
        raise StepError(
            f"the model cannot answer when data.nullable is missing: {error.what}",
            where=error.where,
            do="impute the missing values in the model, or take the features out of data.nullable",
        ) from error


def importance(project: Project, model: Any, test: Window) -> pd.DataFrame:
    """`feature` and `importance` (loss of the declared metric when the feature is shuffled), the most important first,
    on a sample of the test window."""
    seed, metric = project.training.seed, project.evaluation.metric
    x = test.x.sample(min(IMPORTANCE_ROWS, len(test.x)), random_state=seed)
    y = test.y.loc[x.index]
    if y.nunique() < 2:
        return pd.DataFrame({"feature": list(x.columns), "importance": 0.0})
    sign = -1 if metric in LOWER_IS_BETTER else 1

    def goodness(model: Any, x: pd.DataFrame, y: pd.Series) -> float:
        return sign * figure(metric, y, scoring.answers(model, x))

    found = permutation_importance(model, x, y, scoring=goodness, n_repeats=1, random_state=seed)
    table = pd.DataFrame({"feature": list(x.columns), "importance": found.importances_mean})
    return table.sort_values("importance", ascending=False, ignore_index=True)


def store(project: Project, model: Any, file: Path) -> None:
    """Write `model` to `file`; StepError if it holds what cannot be stored."""
    try:
        skops.io.dump(model, file)
    except MemoryError:
        raise
    except Exception as error:
        raise _failure("the model cannot be stored", error, project) from error


def _failure(what: str, error: Exception, project: Project) -> StepError:
    return StepError(
        f"{what}: {type(error).__name__}: {error}",
        where=place(error, project) or f"projects/{project.name}",
        do="correct the entry point or training.parameters; --debug shows the traceback",
    )
