"""Only what was registered, and only what cannot bring code along, is loaded."""

import os
import shutil
import threading
import warnings
from pathlib import Path
from typing import Any

import joblib
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import SaveModel, classifier, training_frame
from mlflow.models import infer_signature
from serving_fakes import FakeRegistry, wait_for
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from contract import DIGEST_TAG, ENTITY_KEY_TAG, EXAMPLE_OUTPUT_TAG, artifact_digest, example_output
from serving.errors import VersionRefused
from serving.models import loader as loader_module
from serving.models import skops_file
from serving.models.loader import Loader
from serving.models.model import PredictionFailed, Scores, ServedModel
from serving.models.signature import Rows


@pytest.fixture
def copy(model_dir: Path, tmp_path: Path) -> Path:
    """A model directory that the test may change before it registers it."""
    return Path(shutil.copytree(model_dir, tmp_path / "copy"))


@pytest.fixture
def trusting(registry: FakeRegistry, tmp_path: Path) -> Loader:
    """A loader whose owner allows pickles."""
    return Loader(registry, tmp_path / "cache", allow_pickle=True)


def load(loader: Loader, registry: FakeRegistry, directory: Path, tags: dict[str, str] | None = None) -> ServedModel:
    return loader.load(registry.version("m", registry.add("m", directory, tags)), "champion")


def refusal(loader: Loader, registry: FakeRegistry, directory: Path, tags: dict[str, str] | None = None) -> str:
    with pytest.raises(VersionRefused) as caught:
        load(loader, registry, directory, tags)
    return str(caught.value)


def artifacts(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.is_dir()]


def edit_mlmodel(directory: Path, **changes: object) -> Path:
    path = directory / "MLmodel"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return directory


def test_a_registered_version_is_loaded_and_predicts_what_it_predicted(
    loader: Loader, registry: FakeRegistry, model_dir: Path
) -> None:
    tags = {DIGEST_TAG: artifact_digest(model_dir), ENTITY_KEY_TAG: "flight_id"}
    model = load(loader, registry, model_dir, tags)
    assert (model.name, model.version, model.role, model.run_id) == ("m", 1, "champion", "run-1")
    assert (model.digest, model.classes) == (tags[DIGEST_TAG], [False, True])
    assert model.entity_key == "flight_id"
    assert model.example == {"carrier": "UA", "hour": 0, "temp": None, "distance": 0.0}
    records = training_frame().replace({np.nan: None}).to_dict(orient="records")
    assert (
        model.score(model.signature.check(records, None)).predictions == classifier().predict(training_frame()).tolist()
    )


def test_an_artifact_that_changed_after_registration_is_not_even_read(
    loader: Loader, registry: FakeRegistry, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skops_file, "load", lambda *_: pytest.fail("it was deserialised"))
    digest = artifact_digest(copy)
    with (copy / "model.skops").open("ab") as file:
        file.write(b"!")
    reason = refusal(loader, registry, copy, {DIGEST_TAG: digest})
    assert "its artifact is not what was registered" in reason
    assert digest in reason


@pytest.mark.parametrize("tags", [{}, {DIGEST_TAG: ""}, {DIGEST_TAG: "../../etc"}, {DIGEST_TAG: "A" * 64}])
def test_a_version_without_a_usable_digest_is_refused_before_it_is_downloaded(
    loader: Loader, registry: FakeRegistry, model_dir: Path, tags: dict[str, str]
) -> None:
    assert "no valid tag platform.artifact_digest" in refusal(loader, registry, model_dir, tags)
    assert registry.downloads == 0


def test_a_pickle_is_refused(loader: Loader, registry: FakeRegistry, save_model: SaveModel) -> None:
    pickled = save_model(serialization_format="cloudpickle", skops_trusted_types=None)
    reason = refusal(loader, registry, pickled)
    assert "stored as cloudpickle, which runs any code" in reason
    assert "SERVING_ALLOW_PICKLE=true" in reason


def test_a_pickle_that_calls_itself_skops_is_refused(
    loader: Loader, registry: FakeRegistry, save_model: SaveModel, copy: Path
) -> None:
    pickled = save_model(serialization_format="cloudpickle", skops_trusted_types=None)
    shutil.copy(pickled / "model.pkl", copy / "model.skops")
    assert "cannot be read by skops: BadZipFile" in refusal(loader, registry, copy)


def test_a_type_that_the_artifact_vouches_for_itself_is_refused(
    loader: Loader, registry: FakeRegistry, save_model: SaveModel
) -> None:
    frame = training_frame()[["distance"]]
    model = make_pipeline(FunctionTransformer(np.savetxt), StandardScaler(), HistGradientBoostingClassifier())
    model.steps[1:] = classifier().steps[1:]
    directory = save_model(
        model,
        frame,
        skops_trusted_types=["numpy.savetxt", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"],
        input_example=None,
    )
    reason = refusal(loader, registry, directory)
    assert "types that are not trusted: numpy.savetxt." in reason


def test_a_type_of_scikit_learn_that_nobody_declared_is_refused(
    loader: Loader, registry: FakeRegistry, copy: Path
) -> None:
    flavors = yaml.safe_load((copy / "MLmodel").read_text())["flavors"]
    flavors["sklearn"]["skops_trusted_types"] = None
    assert "TreePredictor" in refusal(loader, registry, edit_mlmodel(copy, flavors=flavors))


def test_what_histogram_boosting_and_isotonic_regression_need_is_trusted(
    loader: Loader, registry: FakeRegistry, save_model: SaveModel
) -> None:
    frame = training_frame()[["hour", "distance"]]
    boosting = HistGradientBoostingClassifier(max_iter=2, categorical_features=["hour"]).fit(frame, frame["hour"] > 3)
    types = [
        "functools.partial",
        "sklearn.utils.validation.check_array",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    ]
    directory = save_model(boosting, frame, skops_trusted_types=types)
    assert load(loader, registry, directory).classes == [False, True]

    one = frame[["distance"]]
    isotonic = IsotonicRegression().fit(one, one["distance"])
    directory = save_model(isotonic, one, skops_trusted_types=["scipy.interpolate._interpolate.interp1d"])
    assert load(loader, registry, directory).classes is None


def test_a_model_file_outside_the_artifact_is_refused(
    loader: Loader, registry: FakeRegistry, copy: Path, tmp_path: Path
) -> None:
    (copy / "model.skops").rename(tmp_path / "cache" / "elsewhere.skops")
    flavors = yaml.safe_load((copy / "MLmodel").read_text())["flavors"]
    flavors["sklearn"]["pickled_model"] = "../elsewhere.skops"
    assert "not in the artifact" in refusal(loader, registry, edit_mlmodel(copy, flavors=flavors))


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


def test_an_artifact_is_downloaded_once_and_checked_every_time(
    loader: Loader, registry: FakeRegistry, model_dir: Path, tmp_path: Path
) -> None:
    model = load(loader, registry, model_dir)
    load(loader, registry, model_dir)
    assert registry.downloads == 1
    (tmp_path / "cache" / model.digest / "model.skops").write_bytes(b"tampered with")
    load(loader, registry, model_dir)
    assert registry.downloads == 2


def test_without_the_registry_only_the_cache_is_asked(
    loader: Loader, registry: FakeRegistry, model_dir: Path, tmp_path: Path
) -> None:
    version = registry.version("m", registry.add("m", model_dir))
    with pytest.raises(VersionRefused, match="not on this machine any more"):
        loader.restore(version, "champion")
    loader.load(version, "champion")
    registry.down = True
    assert loader.restore(version, "shadow").role == "shadow"
    (tmp_path / "cache" / version.tags[DIGEST_TAG] / "model.skops").write_bytes(b"tampered with")
    with pytest.raises(VersionRefused, match="not on this machine any more"):
        loader.restore(version, "champion")


def test_nothing_half_downloaded_stays(loader: Loader, registry: FakeRegistry, copy: Path, tmp_path: Path) -> None:
    refusal(loader, registry, copy, {DIGEST_TAG: "0" * 64})
    assert artifacts(tmp_path / "cache") == []
    (tmp_path / "cache" / ".incoming-of-a-killed-process").mkdir()
    Loader(registry, tmp_path / "cache")
    assert artifacts(tmp_path / "cache") == []


def test_what_another_process_downloads_is_waited_for_and_not_removed(
    loader: Loader, registry: FakeRegistry, model_dir: Path, tmp_path: Path
) -> None:
    registry.blocked["m"] = threading.Event()
    version = registry.version("m", registry.add("m", model_dir))
    found: list[ServedModel] = []
    others = [Loader(registry, tmp_path / "cache") for _ in range(3)]
    threads = [threading.Thread(target=lambda o=o: found.append(o.load(version, "champion"))) for o in others]
    for thread in threads:
        thread.start()
    wait_for(lambda: registry.downloads > 0)
    Loader(registry, tmp_path / "cache").prune(set())
    assert artifacts(tmp_path / "cache")[0].startswith(".incoming-")
    registry.blocked["m"].set()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    assert registry.downloads == 1


def test_pruning_takes_what_was_long_not_used_and_is_not_to_be_kept(
    loader: Loader, registry: FakeRegistry, model_dir: Path, other_model_dir: Path, regressor_dir: Path
) -> None:
    kept, old, new = (load(loader, registry, path).digest for path in (model_dir, other_model_dir, regressor_dir))
    cache = loader.directory
    for digest in (kept, old):
        for path in (cache / digest, cache / f".lock-{digest}"):
            os.utime(path, (0, 0))
    loader.prune({kept})
    assert sorted(artifacts(cache)) == sorted([kept, new])
    assert not (cache / f".lock-{old}").exists()
    load(loader, registry, model_dir)
    assert (cache / kept).stat().st_mtime > 0, "being used counts"


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
