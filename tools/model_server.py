"""A real model server on loopback, for tests and benchmarks, over a registry that is a directory.

`ModelServer` starts it and ends it, from any environment: this module needs the standard library only. By hand, in the
environment of the model server:

    python -m tools.model_server serve --registry DIR --data DIR --port N [--env KEY=VALUE …]

That is the product's own application; only its registry is another (see `tools.registry_directory`), so neither an
MLflow server nor PostgreSQL is needed. Every setting of the model server can be given as KEY=VALUE.
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from contract import DIGEST_TAG, artifact_digest
from tools import loopback
from tools.loopback import HOST, Answer
from tools.registry_directory import DirectoryRegistry, RegistryFile, serve
from tools.scratch import REPO, free_ports

SCOPES = {"client": "predict+feedback", "admin": "predict+feedback+admin+metrics", "prometheus": "metrics"}
"""The keys that a server gets, by the name of the caller, and what each may."""
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_STARTED = "Application startup complete"


class ModelServer:
    """One server with its registry, its data and its log in a directory of its own.

    As a context manager it starts at the beginning and is gone at the end. Its port, its keys and the secret of its
    webhook stay the same over restarts.
    """

    _ports: ClassVar[set[int]] = set()

    def __init__(
        self, directory: Path, settings: Mapping[str, str] | None = None, python: Path | str | None = None
    ) -> None:
        """Make a server that does not run yet.

        Args:
            directory: for its files; made if it is missing.
            settings: variables of the model server, over those that make it quick to follow the registry.
            python: interpreter of the serving environment; by default that of PLATFORM_TEST_ENVS, else this one.
        """
        self.registry = RegistryFile(directory / "registry")
        self.data = directory / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.keys = {name: secrets.token_urlsafe(24) for name in SCOPES}
        self.webhook_secret = secrets.token_hex(32)
        self.settings = dict(settings or {})
        self.port = next(port for port in free_ports(len(self._ports) + 1) if port not in self._ports)
        self._ports.add(self.port)
        self._registry_directory = directory / "registry"
        self._log = directory / "server.log"
        self._log_start = 0
        self._python = str(python or _serving_python())
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.kill)

    def __enter__(self) -> ModelServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process, the parent of the workers if there are several.

        Raises:
            RuntimeError: it was never started.
        """
        if self._process is None:
            raise RuntimeError("the model server was never started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has printed since it was made, over all restarts."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def add_version(
        self, model: str, path: Path, tags: Mapping[str, str | None] | None = None, alias: str | None = None
    ) -> int:
        """Register the MLflow model directory `path` as the next version of `model`; return its number.

        It gets the tag of its right digest; `tags` go over it, None takes one away. `alias` is set on it.
        """
        all_tags = {DIGEST_TAG: artifact_digest(path), **(tags or {})}
        kept = {key: value for key, value in all_tags.items() if value is not None}
        with self.registry.change() as content:
            entry = content.setdefault(model, {"aliases": {}, "versions": {}})
            number = 1 + max(map(int, entry["versions"]), default=0)
            run_id = hashlib.md5(f"{model}/{number}".encode(), usedforsecurity=False).hexdigest()
            entry["versions"][str(number)] = {"path": str(path), "run_id": run_id, "tags": kept}
            if alias is not None:
                entry["aliases"][alias] = number
        return number

    def set_alias(self, model: str, alias: str, version: int | None) -> None:
        """Point `alias` to `version`; None removes it."""
        with self.registry.change() as content:
            if version is None:
                content[model]["aliases"].pop(alias, None)
            else:
                content[model]["aliases"][alias] = version

    def set_tag(self, model: str, version: int, key: str, value: str) -> None:
        """Set a tag of a version."""
        DirectoryRegistry(self._registry_directory).set_tag(model, version, key, value)

    def tags(self, model: str, version: int) -> dict[str, str]:
        """The tags of a version, those that the server has set among them."""
        return dict(self.registry.read()[model]["versions"][str(version)]["tags"])

    def served(self, model: str) -> dict[str, int]:
        """The version that serves in each role; empty for a model that is not served."""
        found = self.call("GET", "/models").json()["models"]
        return {v["role"]: v["version"] for entry in found if entry["name"] == model for v in entry["versions"]}

    def start(self, *, wait: bool = True) -> None:
        """Start it; with `wait`, return when it is ready: the registry was read and every champion tried.

        Raises:
            RuntimeError: it ended, or was not ready in time; carries the end of its log.
        """
        if self.running:
            raise RuntimeError("the model server runs already")
        self._log_start = len(self.log)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._python, "-m", "tools.model_server", "serve", *self._options()],
                cwd=REPO,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            try:
                self.wait(self._ready, "it is ready", _START_SECONDS)
            except BaseException:
                self.kill()
                raise

    def terminate(self) -> int | None:
        """End it as an operator does (SIGTERM; requests under way are answered); return its exit code, None if it did
        not run. What has not gone in half a minute is killed."""
        if self._process is None:
            return None
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        return self.kill()

    def kill(self) -> int | None:
        """End it as a crash does (SIGKILL to all its processes); return the exit code, None if it was never started."""
        if self._process is None:
            return None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait(_STOP_SECONDS)

    def restart(self) -> None:
        """End it with SIGTERM and start it anew."""
        self.terminate()
        self.start()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "client",
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> Answer:
        """Send one request on a connection of its own.

        Args:
            method: GET, POST, …
            path: with its query.
            body: bytes as they are, None for none, anything else as JSON.
            key: the name of one of `keys`, None for no key.
            headers: further ones, which go over those above.
            timeout: seconds for each wait on the socket.

        Raises:
            OSError: nobody answers.
        """
        sent = {} if key is None else {"Authorization": f"Bearer {self.keys[key]}"}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        return loopback.call(self.port, method, path, body, sent | dict(headers or {}), timeout=timeout)

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
        """Return once `condition` holds.

        Raises:
            RuntimeError: the server ended, or it did not hold in time; carries the end of the server's log.
        """
        end = time.monotonic() + seconds
        while not condition():
            if not self.running:
                raise RuntimeError(f"the model server ended before {what}:\n{self.log[-4000:]}")
            if time.monotonic() > end:
                raise RuntimeError(f"{what}: not after {seconds:g} s. The model server's log:\n{self.log[-4000:]}")
            time.sleep(0.02)

    def _ready(self) -> bool:
        workers = int(self.settings.get("SERVING_WORKERS", "1"))
        if self.log[self._log_start :].count(_STARTED) < workers:
            return False
        # one question reaches one worker; the kernel says which
        return all(self._says_ready() for _ in range(1 if workers == 1 else 10 * workers))

    def _says_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz", key=None, timeout=5).status == 200
        except OSError:
            return False

    def _options(self) -> list[str]:
        return ["--registry", str(self._registry_directory), "--data", str(self.data), "--port", str(self.port)]

    def _environment(self) -> dict[str, str]:
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("SERVING_", "PYTHON"))}
        hashed = {name: hashlib.sha256(key.encode()).hexdigest() for name, key in self.keys.items()}
        keys = ",".join(f"{name}:{SCOPES[name]}:{digest}" for name, digest in hashed.items())
        own = {
            "PYTHONPATH": str(REPO),
            "SERVING_API_KEYS": keys,
            "SERVING_WEBHOOK_SECRET": self.webhook_secret,
            "SERVING_POLL_SECONDS": "0.1",
        }
        return outer | own | self.settings


def _serving_python() -> str:
    envs = os.environ.get("PLATFORM_TEST_ENVS")
    return str(Path(envs, "serving", "bin", "python")) if envs else sys.executable


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.model_server")
    commands = parser.add_subparsers(required=True)
    words = commands.add_parser("serve", help="run a model server over a registry that is a directory")
    words.add_argument("--registry", type=Path, required=True, metavar="DIR")
    words.add_argument("--data", type=Path, required=True, metavar="DIR")
    words.add_argument("--port", type=int, required=True, metavar="N")
    words.add_argument("--env", action="append", default=[], metavar="KEY=VALUE", help="a setting; may be repeated")
    arguments = parser.parse_args()
    given = dict(pair.partition("=")[::2] for pair in arguments.env)
    own = {"SERVING_HOST": HOST, "SERVING_PORT": str(arguments.port), "SERVING_DATA_DIR": str(arguments.data)}
    return serve(arguments.registry, own | given)


if __name__ == "__main__":
    sys.exit(main())
