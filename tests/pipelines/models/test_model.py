from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from contract import EXAMPLE_OUTPUT_TAG, artifact_digest
from pipelines.data.dataset import Snapshot, split_by_time
from pipelines.errors import StepError
from pipelines.models import model_store
from pipelines.models.scoring import checked, predict
from pipelines.project import Project
from pipelines.training import plots
from pipelines.training.entry_point import build_model
from pipelines.training.metrics import slices

FOREST = "from sklearn.ensemble import RandomForestClassifier\n"


def double(x: Any) -> Any:
    return x * 2


@pytest.fixture
def x(snapshot: Snapshot, project: Project) -> pd.DataFrame:
    return split_by_time(snapshot, project)[0].x


@pytest.fixture
def fitted(snapshot: Snapshot, project: Project) -> Any:
    train, _ = split_by_time(snapshot, project)
    return build_model(project).fit(train.x, train.y)


@pytest.fixture
def stored(fitted: Any, tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    skops.io.dump(fitted, directory / model_store.MODEL_FILE)
    return directory


def test_a_model_is_the_same_after_storing(stored: Path, fitted: Any, x: pd.DataFrame) -> None:
    loaded = model_store.load(stored, artifact_digest(stored), "shop version 1")
    assert np.array_equal(predict(loaded, x, "here"), predict(fitted, x, "here"))


def test_what_a_model_answers_for_its_example_is_kept(fitted: Any, x: pd.DataFrame) -> None:
    kept = json.loads(model_store.example_tags(fitted, x)[EXAMPLE_OUTPUT_TAG])
    assert kept["predictions"] == fitted.predict(x.head(3)).tolist()
    assert kept["probabilities"] == predict(fitted, x.head(3), "here").tolist()


def test_a_changed_model_is_not_loaded(stored: Path) -> None:
    digest = artifact_digest(stored)
    with (stored / model_store.MODEL_FILE).open("ab") as file:
        file.write(b"more")
    with pytest.raises(StepError, match="not what was logged"):
        model_store.load(stored, digest, "shop version 1")
    with pytest.raises(StepError, match="none was recorded"):
        model_store.load(stored, "", "shop version 1")


def test_a_model_of_foreign_types_is_refused(tmp_path: Path) -> None:
    file = tmp_path / model_store.MODEL_FILE
    skops.io.dump(make_pipeline(FunctionTransformer(double)), file)
    with pytest.raises(StepError, match=r"types that are not trusted: .*double"):
        model_store.trusted_types(file)


def test_the_sample_takes_raw_records(fitted: Any) -> None:
    records = pd.DataFrame({"country": ["de", "never seen", None], "price": [1.0, None, 3.0], "items": [1, 2, 3]})
    assert predict(fitted, records, "here").shape == (3,)


def test_a_model_that_needs_more_than_is_declared_is_refused(fitted: Any, x: pd.DataFrame) -> None:
    with pytest.raises(StepError, match="needs the features price"):
        predict(fitted, x.drop(columns="price"), "shop version 1")


def test_the_signature_requires_what_is_never_missing_unless_it_is_declared_nullable(x: pd.DataFrame) -> None:
    columns = {spec.name: (spec.type.name, spec.required) for spec in model_store.signature(x, "classification").inputs}
    assert columns == {"country": ("string", False), "price": ("double", True), "items": ("long", True)}
    nullable = model_store.signature(x, "classification", ["price"]).inputs
    assert {spec.name: spec.required for spec in nullable} == {"country": False, "price": False, "items": True}
    kinds = [model_store.signature(x, task).outputs.input_types()[0].name for task in ("classification", "regression")]
    assert kinds == ["long", "double"]


@pytest.mark.parametrize(
    ("source", "told", "line"),
    [
        (None, "file is not there", ""),
        ("import no_such_package", "needs the package 'no_such_package', which is not there", ":1"),
        ("import os\n1 / 0", "cannot be imported: ZeroDivisionError", ":2"),
        ("def build(", "cannot be imported: SyntaxError", ""),
        ("def make(): pass", "has no function build", ""),
        ("def build(parameters, features, seed):\n    return parameters['x']", "build failed: KeyError", ":2"),
        ("def build(parameters): return 3", "build failed: TypeError.*features", ""),
        ("def build(**_): return 3", "returned int, which is no classifier", ""),
        ("def build(**_): pass", "returned NoneType, which is no classifier", ""),
        ("from sklearn.svm import SVR\ndef build(**_): return SVR()", "returned SVR, which is no classifier", ""),
        (f"{FOREST}def build(**_): return RandomForestClassifier", "the class RandomForestClassifier, not an", ""),
    ],
)
def test_a_wrong_entry_point_is_told(project: Project, source: str | None, told: str, line: str) -> None:
    file = project.directory / "train.py"
    file.unlink()
    if source is not None:
        file.write_text(source)
    with pytest.raises(StepError, match=told) as refusal:
        build_model(project)
    assert refusal.value.where == f"projects/shop/train.py{line}"
    assert refusal.value.do


def test_a_regression_takes_no_classifier(project: Project) -> None:
    values = project.model_copy(update={"task": "regression"})
    (project.directory / "train.py").write_text(f"{FOREST}def build(**_): return RandomForestClassifier()")
    with pytest.raises(StepError, match="returned RandomForestClassifier, which is a classifier"):
        build_model(values)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (np.ones((4, 3)), r"float64 of shape \(4, 3\) for 4 rows"),
        (np.ones(3), r"float64 of shape \(3,\) for 4 rows"),
        (np.array(["a"] * 4), "<U1 of shape"),
        (np.array([0.1, np.nan, np.inf, 0.2]), "NaN or infinity for 2 of 4 rows"),
    ],
)
def test_answers_are_one_finite_number_a_row(found: Any, told: str) -> None:
    with pytest.raises(StepError, match=told):
        checked(found, 4, "here")


def test_plots_are_drawn(tmp_path: Path, fitted: Any, snapshot: Snapshot, project: Project) -> None:
    _, test = split_by_time(snapshot, project)
    probability = predict(fitted, test.x, "here")
    plots.roc(test.y, probability, 0.7, tmp_path / "roc.png")
    plots.calibration(test.y, probability, tmp_path / "calibration.png")
    plots.importance(pd.DataFrame({"feature": ["a"], "importance": [0.1]}), "roc_auc", tmp_path / "importance.png")
    plots.slice_points(
        slices("classification", test.x, test.y, probability, ["country"]), "roc_auc", 0.7, tmp_path / "slice.png"
    )
    plots.predicted(test.x["price"], probability, tmp_path / "predicted.png")
    plots.residuals(test.x["price"], probability, tmp_path / "residuals.png")
    for name in ("roc", "calibration", "importance", "slice", "predicted", "residuals"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
