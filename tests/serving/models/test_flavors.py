"""Pickles and flavors other than scikit-learn, where they are allowed."""

import warnings
from pathlib import Path
from typing import Any

import joblib
import mlflow.pyfunc
import pandas as pd
import pytest
import yaml
from mlflow.models import infer_signature

from serving.models.loader import Loader
from serving.models.model import Scores
from tests.serving.conftest import SaveModel, classifier, training_frame
from tests.serving.fakes import FakeRegistry
from tests.serving.models.loading import edit_mlmodel, load, refusal


@pytest.mark.parametrize("kind", ["pickle", "cloudpickle"])
def test_a_pickle_is_loaded_where_it_is_allowed(
    trusting: Loader, registry: FakeRegistry, save_model: SaveModel, kind: str
) -> None:
    model = load(trusting, registry, save_model(serialization_format=kind, skops_trusted_types=None))
    assert model.classes == [False, True]
    assert trusting.load(registry.version("m", 1), "champion").engine.kind == model.engine.kind


def test_a_joblib_file_is_loaded_where_it_is_allowed(trusting: Loader, registry: FakeRegistry, copy: Path) -> None:
    joblib.dump(classifier(), copy / "model.skops")
    flavors = yaml.safe_load((copy / "MLmodel").read_text())["flavors"]
    flavors["sklearn"]["serialization_format"] = "joblib"
    assert load(trusting, registry, edit_mlmodel(copy, flavors=flavors)).classes == [False, True]
    flavors["sklearn"]["serialization_format"] = "dill"
    assert "stored as dill, which this server does not know" in refusal(
        trusting, registry, edit_mlmodel(copy, flavors=flavors)
    )
    (copy / "model.skops").write_bytes(b"no pickle")
    flavors["sklearn"]["serialization_format"] = "pickle"
    assert "its model file cannot be loaded: " in refusal(trusting, registry, edit_mlmodel(copy, flavors=flavors))


class Doubled(mlflow.pyfunc.PythonModel):
    """Answers twice the distance, as the kind of table or list that it is told to."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
        double = model_input["distance"] * 2
        if self.answer == "nothing":
            return [None] * len(double) + [1.0]
        return {
            "list": list(double),
            "series": double,
            "column": double.to_frame(),
            "columns": pd.DataFrame({"low": double, "high": double + 1}),
        }[self.answer]


@pytest.mark.parametrize(
    ("answer", "predictions"),
    [
        ("list", [0.0, 20.0]),
        ("series", [0.0, 20.0]),
        ("column", [0.0, 20.0]),
        ("columns", [{"low": 0.0, "high": 1.0}, {"low": 20.0, "high": 21.0}]),
    ],
)
def test_other_flavors_are_served_where_pickles_are_allowed(
    trusting: Loader, registry: FakeRegistry, tmp_path: Path, answer: str, predictions: list[Any]
) -> None:
    directory = save_pyfunc(tmp_path, answer)
    model = load(trusting, registry, directory)
    assert (model.engine.kind, model.classes) == ("python_function", None)
    rows = model.signature.check([{"distance": 0.0}, {"distance": 10.0}], None)
    assert model.score(rows) == Scores(predictions, None)


def test_other_flavors_are_refused_unless_that_is_allowed(
    loader: Loader, registry: FakeRegistry, tmp_path: Path
) -> None:
    assert "SERVING_ALLOW_PICKLE=true" in refusal(loader, registry, save_pyfunc(tmp_path, "list"))


def test_another_flavor_that_fails_is_refused(trusting: Loader, registry: FakeRegistry, tmp_path: Path) -> None:
    directory = save_pyfunc(tmp_path, "nothing")
    assert "it returned 2 predictions for 1 rows" in refusal(trusting, registry, directory)
    (directory / "python_model.pkl").write_bytes(b"no pickle")
    assert "its python_function cannot be loaded here: " in refusal(trusting, registry, directory)


def save_pyfunc(tmp_path: Path, answer: str) -> Path:
    frame = training_frame()[["distance"]].head(2)
    directory = tmp_path / "pyfunc"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            str(directory),
            python_model=Doubled(answer),
            signature=infer_signature(frame),
            input_example=frame,
            pip_requirements=[],
        )
    return directory
