"""A follower whose clock the test sets, a loader that allows pickles, and models for them."""

import shutil
from pathlib import Path

import pytest

from serving.metrics import Metrics
from serving.models.follower import Follower
from serving.models.loader import Loader
from tests.serving.conftest import SaveModel, classifier, training_frame
from tests.serving.fakes import FakeRegistry
from tests.serving.models.following import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follower(registry: FakeRegistry, loader: Loader, metrics: Metrics, clock: Clock) -> Follower:
    return Follower(registry, loader, metrics, clock)


@pytest.fixture
def smaller_dir(save_model: SaveModel) -> Path:
    """A model that no longer knows the field `hour`."""
    frame = training_frame().drop(columns="hour")
    return save_model(
        classifier().set_params(columntransformer__remainder="passthrough").fit(frame, [0, 1] * 30), frame
    )


@pytest.fixture
def copy(model_dir: Path, tmp_path: Path) -> Path:
    """A model directory that the test may change before it registers it."""
    return Path(shutil.copytree(model_dir, tmp_path / "copy"))


@pytest.fixture
def trusting(registry: FakeRegistry, tmp_path: Path) -> Loader:
    """A loader whose owner allows pickles."""
    return Loader(registry, tmp_path / "cache", allow_pickle=True)
