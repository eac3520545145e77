"""Putting a model server together from its settings and running it."""

import asyncio
import gc
import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from serving import logs
from serving.errors import SettingsError
from serving.http.app import ROUTES, DataPlane
from serving.http.control import control_app, scope_of
from serving.http.gate import Gate
from serving.http.routes import RouteTable
from serving.journal.journal import Journal
from serving.keys.keyring import Keyring
from serving.keys.limit import RateLimit
from serving.metrics import Metrics
from serving.models.follower import Follower
from serving.models.loader import Loader
from serving.models.registry import MlflowRegistry, Registry
from serving.plane.plane import Plane
from serving.settings import Settings
from serving.shadow.keeper import ShadowKeeper

_SWITCH_SECONDS = 0.0005
"""How long a thread keeps the interpreter's lock while another wants it: Python's 5 ms would be felt by each request
that comes while a batch is read or a version is loaded."""
_GC_ALLOCATIONS = 10_000
"""Net allocations between looks of the garbage collector; a request leaves no cycles behind."""
_DRAIN_SECONDS = 10
_KEEP_ALIVE_SECONDS = 75


def run(env: Mapping[str, str]) -> int:
    """Run until a signal; return the exit code: 2 for wrong settings."""
    try:
        settings = Settings.from_env(env)
        check_writable(settings.data_dir)
    except SettingsError as exc:
        print(exc, file=sys.stderr)
        return 2
    serve("serving.run:application", settings)
    return 0


def check_writable(directory: Path) -> None:
    """Make sure that files can be made in the data directory, before any process starts that needs it.

    Raises:
        SettingsError: they cannot.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as exc:
        raise SettingsError(f"SERVING_DATA_DIR: {directory} cannot be written: {exc.strerror}") from exc


def serve(application: str, settings: Settings) -> None:
    """Serve an application, given as `module:function`, in as many processes as the settings say."""
    uvicorn.run(
        application,
        factory=True,
        workers=settings.workers,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        server_header=False,
    )


def application() -> ASGIApp:
    """Return the application of one worker process, by the environment's settings."""
    logs.configure()  # one of several workers comes here without passing `__main__`
    settings = Settings.from_env(os.environ)
    return make_server(settings, MlflowRegistry(settings.tracking_uri)).app


@dataclass(frozen=True)
class Server:
    """One worker process: its application, and the parts that it is made of."""

    app: Gate
    control: FastAPI
    follower: Follower
    plane: Plane
    keyring: Keyring


def make_server(settings: Settings, registry: Registry) -> Server:
    """Return the server that follows `registry`. Its parts run for as long as the application's lifespan lasts."""
    metrics = Metrics()
    forget_dead_workers(settings.figures_dir)
    loader = Loader(registry, settings.cache_dir, allow_pickle=settings.allow_pickle)
    follower = Follower(registry, loader, metrics)
    journal = Journal(
        settings.journal_dir, settings.durability, metrics, settings.sync_seconds, settings.journal_max_bytes
    )
    plane = Plane(settings, follower, journal, metrics)
    keyring = Keyring(settings.api_keys, settings.keys_file)
    shadow = ShadowKeeper(settings, follower)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        _tune_interpreter()
        stop = threading.Event()
        thread = threading.Thread(target=follower.run, args=(stop, settings.poll_seconds), name="follower", daemon=True)
        journal.start()
        thread.start()
        shadow.start()
        yield
        stop.set()
        follower.wake()
        await asyncio.to_thread(shadow.stop)
        plane.close()
        await journal.stop()

    control = control_app(
        follower,
        metrics,
        keyring,
        more_figures=lambda: figures_of_others(settings),
        secret=settings.webhook_secret,
        lifespan=running,
    )
    table = RouteTable(ROUTES)
    app = Gate(
        DataPlane(plane, metrics, control, table),
        keyring,
        RateLimit(settings.data_dir / "limits"),
        lambda method, path: table.scope(method, path, scope_of),
        settings.access_log,
    )
    return Server(app, control, follower, plane, keyring)


def _tune_interpreter() -> None:
    """Keep Python's own housekeeping out of the answers' way: what is imported by now stays, so the garbage collector
    need not go through its quarter million objects (0.1 s) again and again."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS, 20, 20)


def figures_of_others(settings: Settings) -> bytes:
    """Return the series of the shipper and of the shadow, which have no page of their own."""
    return b"".join(file.read_bytes() for file in sorted(settings.journal_dir.glob("*.prom")) if file.is_file())


def forget_dead_workers(directory: Path) -> None:
    """Remove the present values (`live…`) of worker processes that are gone; their counts stay."""
    for file in directory.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not Path("/proc", pid).exists():
            file.unlink(missing_ok=True)
