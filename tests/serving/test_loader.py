"""Only what was registered, and only what cannot bring code along, is loaded."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import SaveModel, classifier, training_frame
from mlflow.models import infer_signature
from serving_fakes import FakeRegistry
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from contract import DIGEST_TAG, ENTITY_KEY_TAG, artifact_digest
from serving.models import skops_file
from serving.errors import VersionRefused
from serving.models.loader import Loader


@pytest.fixture
def copy(model_dir: Path, tmp_path: Path) -> Path:
    """A model directory that the test may change before it registers it."""
    return Path(shutil.copytree(model_dir, tmp_path / "copy"))


def refusal(loader: Loader, registry: FakeRegistry, directory: Path, tags: dict[str, str] | None = None) -> str:
    number = registry.add("m", directory, tags)
    with pytest.raises(VersionRefused) as caught:
        loader.load("m", number, "champion")
    return str(caught.value)


def edit_mlmodel(directory: Path, **changes: object) -> Path:
    path = directory / "MLmodel"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return directory


def test_a_registered_version_is_loaded_and_predicts_what_it_predicted(
    loader: Loader, registry: FakeRegistry, model_dir: Path
) -> None:
    tags = {DIGEST_TAG: artifact_digest(model_dir), ENTITY_KEY_TAG: "flight_id"}
    model = loader.load("m", registry.add("m", model_dir, tags), "champion")
    assert (model.name, model.version, model.alias, model.run_id) == ("m", 1, "champion", "run-1")
    assert model.entity_key == "flight_id"
    assert model.example == {"carrier": "UA", "hour": 0, "temp": None, "distance": 0.0}
    records = training_frame().replace({np.nan: None}).to_dict(orient="records")
    assert model.score(records).predictions == classifier().predict(training_frame()).tolist()


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
    assert "stored as cloudpickle, which runs any code" in refusal(loader, registry, pickled)


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
    assert loader.load("boosting", registry.add("boosting", directory), "champion").estimator.classes == [False, True]

    one = frame[["distance"]]
    isotonic = IsotonicRegression().fit(one, one["distance"])
    directory = save_model(isotonic, one, skops_trusted_types=["scipy.interpolate._interpolate.interp1d"])
    assert loader.load("isotonic", registry.add("isotonic", directory), "champion").estimator.classes is None


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
    number = registry.add("m", model_dir)
    model = loader.load("m", number, "champion")
    assert loader.load("m", number, "champion").version == number
    assert registry.downloads == 1
    (tmp_path / "cache" / model.digest / "model.skops").write_bytes(b"tampered with")
    assert loader.load("m", number, "champion").version == number
    assert registry.downloads == 2


def test_nothing_half_downloaded_stays(loader: Loader, registry: FakeRegistry, copy: Path, tmp_path: Path) -> None:
    refusal(loader, registry, copy, {DIGEST_TAG: "0" * 64})
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "cache" / ".incoming-of-a-killed-process").mkdir()
    Loader(registry, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_pruning_keeps_what_it_is_told_to(
    loader: Loader, registry: FakeRegistry, model_dir: Path, other_model_dir: Path, tmp_path: Path
) -> None:
    first = loader.load("m", registry.add("m", model_dir), "champion")
    second = loader.load("m", registry.add("m", other_model_dir), "champion")
    loader.prune({second.digest})
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [second.digest]
    assert first.digest != second.digest
