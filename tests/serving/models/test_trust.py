"""Only what was registered, and only what cannot bring code along, is loaded."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from contract import DIGEST_TAG, ENTITY_KEY_TAG, artifact_digest
from serving.models import skops_file
from serving.models.loader import Loader
from tests.serving.conftest import SaveModel, classifier, training_frame
from tests.serving.fakes import FakeRegistry
from tests.serving.models.loading import edit_mlmodel, load, refusal


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
