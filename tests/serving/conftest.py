"""Models as MLflow stores them, and a model server in this process around fake edges."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import psycopg
import pytest
from mlflow.models import infer_signature
from serving_fakes import AsgiClient, FakePostgres, FakeRegistry
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from serving.http.app import Server, create_app
from serving.models.follower import Follower
from serving.models.loader import Loader
from serving.metrics import Metrics
from serving.settings import Settings
from serving.store import PredictionStore

ROWS = 60
SaveModel = Callable[..., Path]


def training_frame() -> pd.DataFrame:
    """Sixty flights: a string, an integer, a number with gaps, a moment."""
    index = np.arange(ROWS)
    return pd.DataFrame(
        {
            "carrier": np.where(index % 2 == 0, "UA", "B6"),
            "hour": index % 24,
            "temp": np.where(index % 5 == 0, np.nan, index / 2.0),
            "distance": index * 10.0,
        }
    )


def classifier(seed: int = 0, labels: Any = None) -> Any:
    """Fit a pipeline of the sample's kind; by default it says whether the distance is above 300."""
    frame = training_frame()
    target = frame["distance"] > 300 if labels is None else labels
    model = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5, random_state=seed)
    return _pipeline(model).fit(frame, target)


def regressor() -> Any:
    frame = training_frame()
    return _pipeline(HistGradientBoostingRegressor(max_iter=5, min_samples_leaf=5)).fit(frame, frame["distance"])


def _pipeline(model: Any) -> Any:
    encode = (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["carrier"])
    return make_pipeline(make_column_transformer(encode, remainder="passthrough"), model)


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> SaveModel:
    """Return a function that writes an MLflow model directory, by default of the classifier."""

    def save(model: Any = None, frame: pd.DataFrame | None = None, **options: Any) -> Path:
        directory = tmp_path_factory.mktemp("models") / "model"
        frame = training_frame() if frame is None else frame
        model = classifier() if model is None else model
        trusted = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            defaults = {
                "signature": infer_signature(frame),
                "input_example": frame.head(6),
                "serialization_format": "skops",
                "skops_trusted_types": trusted,
                "pip_requirements": [],
            }
            mlflow.sklearn.save_model(model, str(directory), **(defaults | options))
        return directory

    return save


@pytest.fixture(scope="session")
def model_dir(save_model: SaveModel) -> Path:
    """The classifier; tests copy it before they change it."""
    return save_model()


@pytest.fixture(scope="session")
def other_model_dir(save_model: SaveModel) -> Path:
    return save_model(classifier(seed=1, labels=training_frame()["hour"] > 12))


@pytest.fixture(scope="session")
def regressor_dir(save_model: SaveModel) -> Path:
    return save_model(regressor())


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch) -> FakePostgres:
    fake = FakePostgres()
    monkeypatch.setattr(psycopg, "connect", fake.connect)
    return fake


@pytest.fixture
def loader(registry: FakeRegistry, tmp_path: Path) -> Loader:
    return Loader(registry, tmp_path / "cache")


@pytest.fixture
def follower(registry: FakeRegistry, loader: Loader, metrics: Metrics) -> Follower:
    return Follower(registry, loader, metrics)


@pytest.fixture
def server(follower: Follower, metrics: Metrics, postgres: FakePostgres, tmp_path: Path) -> Server:
    settings = Settings(
        host="127.0.0.1",
        port=1,
        tracking_uri="http://mlflow",
        predictions_url="postgresql://serving@nowhere/serving",
        api_keys={"client": "client-key", "pipelines": "pipelines-key"},
        cache_dir=tmp_path,
        poll_seconds=0.02,
        max_body_bytes=20_000,
    )
    store = PredictionStore(settings.predictions_url, metrics, capacity=20, wait_seconds=5.0)
    return Server(settings, follower, store, metrics)


@pytest.fixture
def client(server: Server) -> Iterator[AsgiClient]:
    """A client with a key of a server that runs: it follows the registry and writes predictions."""
    app = create_app(server)
    loop = asyncio.new_event_loop()
    running = server.running(app)
    loop.run_until_complete(running.__aenter__())
    yield AsgiClient(app, loop, {"authorization": "Bearer client-key"})
    loop.run_until_complete(running.__aexit__(None, None, None))
    loop.close()
