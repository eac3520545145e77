"""Putting a model server together from its settings and running it."""

import sys
from collections.abc import Mapping

import uvicorn

from serving.http.app import Server, create_app
from serving.errors import SettingsError
from serving.models.follower import Follower
from serving.models.loader import Loader
from serving.metrics import Metrics
from serving.models.registry import MlflowRegistry
from serving.settings import Settings
from serving.store import PredictionStore

_DRAIN_SECONDS = 10


def run(env: Mapping[str, str]) -> int:
    """Run until a signal; return the exit code: 2 for wrong settings."""
    try:
        settings = Settings.from_env(env)
    except SettingsError as exc:
        print(exc, file=sys.stderr)
        return 2
    uvicorn.run(
        create_app(make_server(settings)),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        server_header=False,
    )
    return 0


def make_server(settings: Settings) -> Server:
    """Return the server that follows MLflow and writes to PostgreSQL."""
    metrics = Metrics()
    registry = MlflowRegistry(settings.tracking_uri)
    follower = Follower(registry, Loader(registry, settings.cache_dir), metrics)
    store = PredictionStore(settings.predictions_url, metrics, settings.store_queue_rows, settings.store_wait_seconds)
    return Server(settings, follower, store, metrics)
