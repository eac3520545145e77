"""Models as MLflow stores them, and a model server in this process around fake edges."""

import asyncio
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from contract import DIGEST_TAG, ENTITY_KEY_TAG, artifact_digest
from serving.journal.ship import Shipper
from serving.keys.keyring import parse_builtin_keys
from serving.metrics import Metrics
from serving.models.follower import Follower
from serving.models.loader import Loader
from serving.run import Server, make_server
from serving.settings import Settings
from tests.serving.fakes import AsgiClient, FakeRegistry, wait_for
from tools.postgres import Postgres

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
def loader(registry: FakeRegistry, tmp_path: Path) -> Loader:
    return Loader(registry, tmp_path / "cache", allow_pickle=False)


@pytest.fixture
def follower(registry: FakeRegistry, loader: Loader, metrics: Metrics) -> Follower:
    return Follower(registry, loader, metrics)


def settings_in(directory: Path) -> Settings:
    """Settings of a server with the keys `client-key` (predict, feedback) and `admin-key` (admin, metrics)."""
    keys = {"client:predict+feedback": "client-key", "admin:admin+metrics": "admin-key"}
    hashed = ",".join(f"{name}:{sha256(key.encode()).hexdigest()}" for name, key in keys.items())
    return Settings(
        host="127.0.0.1",
        port=1,
        tracking_uri="http://mlflow",
        api_keys=parse_builtin_keys(hashed),
        webhook_secret="webhook-secret",
        data_dir=directory,
        poll_seconds=0.02,
        max_body_bytes=20_000,
    )


@contextmanager
def running(server: Server) -> Iterator[AsgiClient]:
    """A client with a key of a server that runs: it follows the registry and writes its journal."""
    loop = asyncio.new_event_loop()
    lifespan = server.control.router.lifespan_context(server.control)
    loop.run_until_complete(lifespan.__aenter__())
    yield AsgiClient(server.app, loop, {"authorization": "Bearer client-key"})
    loop.run_until_complete(lifespan.__aexit__(None, None, None))
    loop.close()


def add_classifier(registry: FakeRegistry, directory: Path, server: Server) -> None:
    """Serve the classifier as `m`."""
    registry.add("m", directory, {DIGEST_TAG: artifact_digest(directory), ENTITY_KEY_TAG: "flight_id"})
    wait_for(lambda: "m" in server.follower.catalog.deployments)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture
def server(settings: Settings, registry: FakeRegistry) -> Server:
    return make_server(settings, registry)


@pytest.fixture
def client(server: Server) -> Iterator[AsgiClient]:
    with running(server) as client:
        yield client


@pytest.fixture
def served(client: AsgiClient, registry: FakeRegistry, model_dir: Path, server: Server) -> AsgiClient:
    """A client of a server that serves the classifier as `m`."""
    add_classifier(registry, model_dir, server)
    return client


@pytest.fixture(scope="module")
def lasting(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsgiClient]:
    """As `served`, one for all tests of a file: for those that only ask, and look at nothing but the answer."""
    registry = FakeRegistry()
    server = make_server(settings_in(tmp_path_factory.mktemp("server")), registry)
    with running(server) as client:
        add_classifier(registry, model_dir, server)
        yield client


@pytest.fixture
def serve(client: AsgiClient, registry: FakeRegistry, server: Server, save_model: SaveModel) -> Callable[..., None]:
    """Return a function that serves a fitted estimator under a name; its signature is that of `example`."""

    def serve(name: str, estimator: Any, example: Any, **options: Any) -> None:
        signature = infer_signature(example)
        registry.add(name, save_model(estimator, signature=signature, input_example=example[:3], **options))
        wait_for(lambda: name in server.follower.catalog.deployments)

    return serve


@pytest.fixture
def journal(settings: Settings) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that reads all entries that the server has written down."""

    def read() -> list[dict[str, Any]]:
        files = sorted(settings.journal_dir.glob("worker-*/*.log"))
        lines = b"".join(file.read_bytes() for file in files).splitlines()
        return [json.loads(line.partition(b" ")[2]) for line in lines]

    return read


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with Postgres(Path(os.environ["PLATFORM_TEST_ENVS"])) as running:
        yield running


@pytest.fixture
def postgres(postgres_server: Postgres) -> Postgres:
    """A PostgreSQL whose database `serving` is empty."""
    postgres_server.query(
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner;"
        "GRANT USAGE ON SCHEMA public TO PUBLIC;"
    )
    return postgres_server


@pytest.fixture
def shipper(postgres: Postgres, tmp_path: Path) -> Iterator[Shipper]:
    """A shipper of the journal in `tmp_path` that keeps everything; it does not run."""
    shipper = Shipper(tmp_path, postgres.url(), 0)
    yield shipper
    shipper.close()
