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
from pipelines.models.scoring import predict
from pipelines.project import Project
from pipelines.training import plots
from pipelines.training.entry_point import build_model
from pipelines.training.metrics import slices


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


def test_the_signature_requires_what_is_never_missing(x: pd.DataFrame) -> None:
    columns = {spec.name: (spec.type.name, spec.required) for spec in model_store.signature(x).inputs}
    assert columns == {"country": ("string", False), "price": ("double", True), "items": ("long", True)}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (None, "file is not there"),
        ("import no_such_package", r"ModuleNotFoundError.*no_such_package"),
        ("def make(): pass", "has no function build"),
        ("def build(parameters, features, seed): return parameters['nothing']", "build failed: KeyError"),
        ("def build(parameters, features, seed): return 3", "returned int, which is no classifier"),
    ],
)
def test_a_wrong_entry_point_is_told(project: Project, source: str | None, told: str) -> None:
    file = project.directory / "train.py"
    file.unlink()
    if source is not None:
        file.write_text(source)
    with pytest.raises(StepError, match=told) as refusal:
        build_model(project)
    assert refusal.value.where == "projects/shop/train.py"


def test_plots_are_drawn(tmp_path: Path, fitted: Any, snapshot: Snapshot, project: Project) -> None:
    _, test = split_by_time(snapshot, project)
    probability = predict(fitted, test.x, "here")
    plots.roc(test.y, probability, 0.7, tmp_path / "roc.png")
    plots.calibration(test.y, probability, tmp_path / "calibration.png")
    plots.importance(pd.DataFrame({"feature": ["a"], "importance": [0.1]}), tmp_path / "importance.png")
    plots.slice_points(slices(test.x, test.y, probability, ["country"]), 0.7, tmp_path / "slice.png")
    for name in ("roc", "calibration", "importance", "slice"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
