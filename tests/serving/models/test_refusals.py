"""No bad version takes the place of a good one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from contract import DIGEST_TAG, EXAMPLE_OUTPUT_TAG, SERVING_STATUS_TAG, SIGNATURE_CHANGE_TAG
from serving.metrics import Metrics
from serving.models.follower import Follower
from tests.serving.conftest import SaveModel, classifier, training_frame
from tests.serving.fakes import FakeRegistry
from tests.serving.models.following import Clock, champion, digest, failure, sample, settle

NO_ANSWER = '{"predictions": [false, false, false, false, false, false], "probabilities": [1, 1, 1, 1, 1, 1]}'


Made = tuple[Path, dict[str, str]]


def changed_after(model: Path, _: SaveModel) -> Made:
    return model, {DIGEST_TAG: "0" * 64}


def of_foreign_types(_: Path, save: SaveModel) -> Made:
    frame = training_frame()[["distance"]]
    foreign = make_pipeline(FunctionTransformer(np.savetxt), LinearRegression())
    made = save(foreign, frame, skops_trusted_types=["numpy.savetxt"], input_example=None)
    return made, digest(made)


def without_signature(model: Path, _: SaveModel) -> Made:
    (model / "MLmodel").write_text("\n".join(_not_signature((model / "MLmodel").read_text().splitlines())))
    return model, digest(model)


def _not_signature(lines: list[str]) -> list[str]:
    start = lines.index("signature:")
    end = next(number for number in range(start + 1, len(lines)) if not lines[number].startswith(" "))
    return lines[:start] + lines[end:]


def that_raises_on_load(model: Path, _: SaveModel) -> Made:
    (model / "model.skops").write_bytes(b"no archive")
    return model, digest(model)


def that_raises_on_its_example(_: Path, save: SaveModel) -> Made:
    frame = pd.DataFrame({"altitude": [1.0, 2.0]})
    made = save(classifier(), frame, signature=infer_signature(frame))
    return made, digest(made)


def that_says_nan(_: Path, save: SaveModel) -> Made:
    frame = training_frame()[["hour", "distance"]]
    model = LinearRegression().fit(frame, frame["hour"])
    model.coef_[:] = float("nan")
    made = save(model, frame)
    return made, digest(made)


def that_answers_differently(model: Path, _: SaveModel) -> Made:
    return model, digest(model) | {EXAMPLE_OUTPUT_TAG: NO_ANSWER}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (changed_after, "not what was registered"),
        (of_foreign_types, "types that are not trusted"),
        (without_signature, "no input signature"),
        (that_raises_on_load, "cannot be read by skops"),
        (that_raises_on_its_example, "fails on its own input example"),
        (that_says_nan, "returned NaN or infinity"),
        (that_answers_differently, "does not answer its input example as it did"),
    ],
)
def test_a_bad_version_never_takes_the_place_of_a_good_one(
    make: Callable[[Path, SaveModel], Made],
    reason: str,
    request: pytest.FixtureRequest,
    model_dir: Path,
    tmp_path: Path,
) -> None:
    follower: Follower = request.getfixturevalue("follower")
    registry: FakeRegistry = request.getfixturevalue("registry")
    metrics: Metrics = request.getfixturevalue("metrics")
    registry.add("m", model_dir)
    settle(follower)
    copy = Path(shutil.copytree(model_dir, tmp_path / "copy"))
    registry.add("m", *make(copy, request.getfixturevalue("save_model")))
    settle(follower)
    assert champion(follower) == 1
    assert reason in failure(follower)
    assert follower.catalog.failures["m", "champion"].version == 2
    tag = registry.tag("m", 2, SERVING_STATUS_TAG)
    assert tag is not None
    assert tag.startswith("refused as champion: ")
    assert reason in tag
    assert sample(metrics, "serving_model_load_failures_total", model="m", version="2") == 1
    assert sample(metrics, "serving_model_alias_not_served", model="m", role="champion") == 1
    settle(follower)
    assert len(registry.written) == 1, "its own tag does not make it try again"


def test_another_signature_is_refused_until_that_is_allowed(
    follower: Follower, registry: FakeRegistry, model_dir: Path, smaller_dir: Path
) -> None:
    registry.add("m", model_dir)
    settle(follower)
    registry.add("m", smaller_dir)
    settle(follower)
    assert champion(follower) == 1
    assert "gone: hour" in failure(follower)
    registry.by_model["m"] = {"champion": 1, "canary": 2, "shadow": 2}
    settle(follower)
    assert follower.catalog.find("m").versions() == [follower.catalog.find("m").champion]
    assert "gone: hour" in failure(follower, "canary")
    assert "gone: hour" in failure(follower, "shadow")
    registry.by_model["m"] = {"champion": 2}
    registry.versions["m", 2][1][SIGNATURE_CHANGE_TAG] = "allowed"
    settle(follower)
    assert champion(follower) == 2
    assert registry.tag("m", 2, SERVING_STATUS_TAG) is None


def test_what_serves_beside_a_new_champion_is_held_against_it(
    follower: Follower, registry: FakeRegistry, model_dir: Path, smaller_dir: Path, clock: Clock
) -> None:
    registry.add("m", smaller_dir)
    registry.by_model["m"]["canary"] = registry.add("m", smaller_dir, champion=False)
    registry.by_model["m"]["shadow"] = registry.add("m", model_dir, champion=False)
    settle(follower)
    assert "new and required: hour" in failure(follower, "shadow")
    registry.by_model["m"]["champion"] = 3
    registry.by_model["m"].pop("shadow")
    registry.versions["m", 3][1][SIGNATURE_CHANGE_TAG] = "allowed"
    settle(follower)
    deployment = follower.catalog.find("m")
    assert (champion(follower), deployment.canary) == (3, None)
    assert "gone: hour" in failure(follower, "canary")
    assert follower.catalog.failures["m", "canary"].tries == 1
    assert "refused as canary: " in (registry.tag("m", 2, SERVING_STATUS_TAG) or "")
    registry.by_model["m"]["champion"] = 1
    registry.versions["m", 1][1][SIGNATURE_CHANGE_TAG] = "allowed"
    settle(follower)
    assert follower.catalog.find("m").canary is not None, "what failed beside the old one may try beside the new"
