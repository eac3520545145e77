"""What a candidate is put through besides its metrics: a single row against the clock, and rows with gaps."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.data.dataset import Window
from pipelines.errors import StepError
from pipelines.models.scoring import predict
from pipelines.project import Project
from pipelines.training.metrics import figures, loss_against

WARM_CALLS = 3
TIMED_CALLS = 30


@dataclass(frozen=True)
class Gaps:
    """How the candidate copes with `share` of the values missing: its `loss` in the metric, or the `error`."""

    share: float
    loss: float | None
    error: str | None


def latency_ms(model: Any, x: pd.DataFrame, where: str) -> float:
    """The median time of an answer to a single row, in milliseconds, over rows spread through `x`."""
    places = np.linspace(0, len(x) - 1, WARM_CALLS + TIMED_CALLS).astype(int)
    taken = []
    for place in places:
        row = x.iloc[[place]]
        start = time.perf_counter()
        predict(model, row, where)
        taken.append(time.perf_counter() - start)
    return 1000 * statistics.median(taken[WARM_CALLS:])


def gaps(project: Project, model: Any, test: Window, value: float, where: str) -> Gaps | None:
    """The loss of the declared metric against `value`, the one on the whole rows; None if it is not declared."""
    rules = project.evaluation
    if rules.missing_values is None:
        return None
    share = rules.missing_values.share
    try:
        answer = predict(model, with_gaps(test.x, share, project.training.seed), where)
    except StepError as error:
        return Gaps(share, None, error.what)
    except Exception as error:  # the model's own code: it may raise anything
        return Gaps(share, None, f"{type(error).__name__}: {error}".splitlines()[0])
    found = figures(project.task, test.y, answer)[rules.metric]
    return Gaps(share, loss_against(rules.metric, found, value), None)


def with_gaps(x: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """`x` with that share of its values taken away at random, in the types in which a model gets missing values."""
    gone = np.random.default_rng(seed).random(x.shape) < share
    columns = {}
    for place, (name, values) in enumerate(x.items()):
        if values.dtype == object:
            columns[name] = values.where(~gone[:, place], None)
        else:
            columns[name] = values.astype("float64").where(~gone[:, place])
    return pd.DataFrame(columns, index=x.index)
