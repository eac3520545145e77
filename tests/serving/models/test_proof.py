"""A version is served only after it has answered its own example."""

from pathlib import Path

import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression

from contract import DIGEST_TAG, EXAMPLE_OUTPUT_TAG, artifact_digest, example_output
from serving.models import loader as loader_module
from serving.models.loader import Loader
from serving.models.model import PredictionFailed, Scores
from serving.models.signature import Rows
from tests.serving.conftest import SaveModel, classifier, training_frame
from tests.serving.fakes import FakeRegistry
from tests.serving.models.loading import edit_mlmodel, load, refusal


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"flavors": {"python_function": {}}}, "it is not a scikit-learn model"),
        ({"signature": None}, "it has no input signature"),
        ({"saved_input_example_info": None}, "it has no input example"),
        (
            {"signature": {"inputs": '[{"type": "double", "name": "altitude"}]'}},
            "its input example does not fit its signature: row 0, field 'altitude'",
        ),
    ],
)
def test_a_version_that_cannot_be_checked_is_refused(
    loader: Loader, registry: FakeRegistry, copy: Path, changes: dict[str, object], reason: str
) -> None:
    assert reason in refusal(loader, registry, edit_mlmodel(copy, **changes))


def test_a_model_that_fails_on_its_own_example_is_refused(
    loader: Loader, registry: FakeRegistry, save_model: SaveModel
) -> None:
    frame = pd.DataFrame({"altitude": [1.0, 2.0]})
    directory = save_model(classifier(), frame, signature=infer_signature(frame))
    assert "it fails on its own input example: " in refusal(loader, registry, directory)


def test_the_answers_at_registration_are_compared(loader: Loader, registry: FakeRegistry, model_dir: Path) -> None:
    model, example = classifier(), training_frame().head(6)
    predictions, by_class = model.predict(example).tolist(), model.predict_proba(example).tolist()
    tags = {DIGEST_TAG: artifact_digest(model_dir)}
    load(loader, registry, model_dir, tags | {EXAMPLE_OUTPUT_TAG: str(example_output(predictions, by_class))})
    by_class[4][1] *= 1 + 1e-8
    load(loader, registry, model_dir, tags | {EXAMPLE_OUTPUT_TAG: str(example_output(predictions, by_class))})
    by_class[4][1] *= 1 + 1e-5
    other = tags | {EXAMPLE_OUTPUT_TAG: str(example_output(predictions, by_class))}
    assert "as it did when it was logged: probability of row 4 was" in refusal(loader, registry, model_dir, other)
    predictions[2] = not predictions[2]
    other = tags | {EXAMPLE_OUTPUT_TAG: str(example_output(predictions, None))}
    assert "prediction of row 2 was true and is false" in refusal(loader, registry, model_dir, other)
    for wrong, reason in {
        "{": "cannot be read",
        "[]": "cannot be read",
        '{"predictions": [], "probabilities": null}': "was of 0 rows and is of 6",
    }.items():
        assert reason in refusal(loader, registry, model_dir, tags | {EXAMPLE_OUTPUT_TAG: wrong})


def test_a_compiled_engine_that_fails_leaves_the_models_own(
    loader: Loader, registry: FakeRegistry, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        kind = "trees"

        def encode(self, rows: Rows) -> Rows:
            return rows

        def join(self, parts: list[Rows]) -> Rows:
            return parts[0]

        def predict(self, encoded: Rows) -> Scores:
            raise PredictionFailed("no")

    def fails(*_: object) -> None:
        raise MemoryError

    for compile_fast in (fails, lambda *_: Broken(), lambda *_: None):
        monkeypatch.setattr(loader_module.fast, "compile_fast", compile_fast)
        assert load(loader, registry, model_dir).engine.kind == "predict"


def test_a_tensor_and_its_example_are_understood(loader: Loader, registry: FakeRegistry, save_model: SaveModel) -> None:
    matrix = training_frame()[["hour", "distance"]].to_numpy(dtype=float)
    model = LinearRegression().fit(matrix, matrix[:, 1])
    directory = save_model(model, signature=infer_signature(matrix), input_example=matrix[:3])
    served = load(loader, registry, directory)
    assert served.example == {"0": 0.0, "1": 0.0}
    rows = served.signature.check([[3.0, 30.0]], None)
    assert served.score(rows).predictions == pytest.approx([30.0])
