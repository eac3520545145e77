from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.data.dataset import Snapshot, Window, split_by_time
from pipelines.gate.evaluate import Judged, ask_champion
from pipelines.gate.schema import Schema
from pipelines.models import model_store
from pipelines.project import Project


class Champion:
    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict_proba(self, x: pd.DataFrame) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.tile([1 - self.answer, self.answer], (len(x), 1))


@pytest.fixture
def test(snapshot: Snapshot, project: Project) -> Window:
    return split_by_time(snapshot, project)[1]


def judged(answer: Any, x: pd.DataFrame) -> Judged:
    return Judged(Champion(answer), Schema.of(model_store.signature(x, "classification")), "shop version 1")


def test_a_champion_that_can_answer_is_asked(project: Project, test: Window) -> None:
    answer, reasons = ask_champion(project, judged(0.25, test.x), test)
    assert answer is not None
    assert answer.tolist() == [0.25] * len(test.y)
    assert reasons == []


@pytest.mark.parametrize(
    ("answer", "dropped", "reason"),
    [
        (0.25, True, "it needs size, no longer declared"),
        (KeyError("fr"), False, "it fails on these rows: KeyError: 'fr'"),
        (float("nan"), False, "the model answers with NaN or infinity"),
    ],
)
def test_a_champion_that_cannot_answer_says_why(
    project: Project, test: Window, answer: Any, dropped: bool, reason: str
) -> None:
    x = test.x.assign(size=1.0) if dropped else test.x
    answers, (told,) = ask_champion(project, judged(answer, x), test)
    assert answers is None
    assert reason in told
