"""A training in its process, without MLflow: what it leaves in its directory, and that it is repeatable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io

from pipelines.data.dataset import Snapshot, split_by_time
from pipelines.errors import StepError
from pipelines.models.model_store import trusted_types
from pipelines.models.scoring import predict
from pipelines.project import Project, load_project
from pipelines.training import report
from pipelines.training.limits import Worker
from pipelines.training.worker import ANSWERS_FILE, IMPORTANCE_FILE, MODEL_FILE, ROWS_FILE, Job, Outcome

TREES = """
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

def build(parameters, features, seed):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = make_column_transformer((encoder, ["country"]), remainder="passthrough")
    return make_pipeline(columns, HistGradientBoostingRegressor(random_state=seed, **parameters))
"""


@pytest.fixture
def values(repo: Path, declare: Callable[[str, str], None]) -> Project:
    """The project as a regression with a search."""
    (repo / "projects/shop/train.py").write_text(TREES)
    declare("description:", "task: regression\ndescription:")
    declare("metric: roc_auc", "metric: rmse")
    declare("  seed: 3", "  search: {trials: 3, space: {max_leaf_nodes: {low: 2, high: 20}}}\n  seed: 3")
    return load_project(repo, "shop")


def train(project: Project, rows: pd.DataFrame, directory: Path) -> list[dict[str, Any]]:
    directory.mkdir()
    rows.to_parquet(directory / ROWS_FILE)
    job = Job(project=project, directory=directory, uri="s3://x")
    with Worker(project.training.resources, "projects/shop") as worker:
        return list(worker.work(job.model_dump(mode="json")))


def test_a_regression_with_a_search_is_repeatable(values: Project, rows: pd.DataFrame, tmp_path: Path) -> None:
    rows = rows.assign(is_returned=rows["price"] * 2 + rows["items"])
    told, again = train(values, rows, tmp_path / "first"), train(values, rows, tmp_path / "second")
    assert [key for message in told for key in message] == ["trial"] * 3 + ["done"]
    outcome = Outcome.model_validate(told[-1]["done"])
    assert outcome == Outcome.model_validate(again[-1]["done"])
    best = int(outcome.search["search_best_trial"])
    assert outcome.parameters == {"max_iter": 10, **told[best]["trial"]["parameters"]}
    answers, repeated = (np.load(tmp_path / name / ANSWERS_FILE) for name in ("first", "second"))
    assert np.array_equal(answers["test"], repeated["test"])

    _, test = split_by_time(Snapshot("s3://x", "x", rows), values)
    file = tmp_path / "first" / MODEL_FILE
    model = skops.io.load(file, trusted=trusted_types(file))
    assert np.array_equal(predict(model, test.x, "here"), answers["test"])
    importance = pd.read_csv(tmp_path / "first" / IMPORTANCE_FILE)
    assert importance["feature"][0] == "price"
    assert importance["importance"][0] > 1, "shuffled, the error grows"

    report.write(tmp_path / "report", values, test, answers["test"], importance)
    plots = {file.stem for file in (tmp_path / "report/plots").iterdir()}
    assert plots == {"predicted", "residuals", "importance", "slice_country"}
    assert "rmse" in pd.read_csv(tmp_path / "report/tables/slices.csv")


LINEAR = """
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

def build(parameters, features, seed):
    return make_pipeline(make_column_transformer(("passthrough", ["price", "items"])), {impute}LogisticRegression())
"""


def test_a_model_must_cope_with_what_is_declared_nullable(
    repo: Path, declare: Callable[[str, str], None], rows: pd.DataFrame, tmp_path: Path
) -> None:
    entry_point = repo / "projects/shop/train.py"
    entry_point.write_text(LINEAR.format(impute=""))
    assert "done" in train(load_project(repo, "shop"), rows, tmp_path / "strict")[-1], "no value is missing in training"
    declare("  features:", "  nullable: [country, price]\n  features:")
    with pytest.raises(StepError, match=r"cannot answer when data\.nullable is missing: .* contains NaN"):
        train(load_project(repo, "shop"), rows, tmp_path / "nullable")
    entry_point.write_text(LINEAR.format(impute="SimpleImputer(), "))
    assert "done" in train(load_project(repo, "shop"), rows, tmp_path / "imputed")[-1]
