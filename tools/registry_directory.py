"""A registry of models that is a directory: what MLflow's registry is to the model server, without a server.

DIR/registry.json, replaced atomically, under a lock for whoever changes it:

    {model: {"aliases": {"champion": 1},
             "versions": {"1": {"path": "/a/model/directory", "run_id": "…", "tags": {…}}}}}
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.http.gate import Gate
    from serving.models.registry import Version

DIRECTORY = "REGISTRY_DIRECTORY"
"""The variable by which worker processes of a server know where their registry is."""


class RegistryFile:
    """The file. Standard library only."""

    def __init__(self, directory: Path) -> None:
        """Use `directory`, which is made if it is missing."""
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / "registry.json"
        self._lock = directory / "registry.lock"

    def read(self) -> dict[str, Any]:
        """What the registry holds now."""
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """Yield what the registry holds, to be changed in place; it is written at the end, as a whole."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            content = self.read()
            yield content
            scratch = self._path.with_suffix(".new")
            scratch.write_text(json.dumps(content, indent=2))
            scratch.replace(self._path)


class DirectoryRegistry:
    """The model server's registry (`serving.models.registry.Registry`) over the file."""

    def __init__(self, directory: Path) -> None:
        """Read and write the registry in `directory`."""
        self._file = RegistryFile(directory)

    def aliases(self) -> dict[str, dict[str, int]]:
        """See `Registry.aliases`."""
        return {name: dict(model["aliases"]) for name, model in self._file.read().items()}

    def version(self, name: str, number: int) -> Version:
        """See `Registry.version`."""
        from serving.models.registry import Version  # noqa: PLC0415 - only the server's environment has what it imports

        entry = self._file.read()[name]["versions"][str(number)]
        return Version(name, number, entry["run_id"], entry["tags"], entry["path"])

    def download(self, version: Version, parent: Path) -> Path:
        """See `Registry.download`."""
        return Path(shutil.copytree(version.artifact_uri, parent / "model"))

    def set_tag(self, name: str, number: int, key: str, value: str) -> None:
        """See `Registry.set_tag`."""
        with self._file.change() as content:
            content[name]["versions"][str(number)]["tags"][key] = value

    def delete_tag(self, name: str, number: int, key: str) -> None:
        """See `Registry.delete_tag`."""
        with self._file.change() as content:
            content[name]["versions"][str(number)]["tags"].pop(key, None)


def serve(directory: Path, settings: Mapping[str, str]) -> int:
    """Run the model server over the registry in `directory` until a signal; return the exit code."""
    os.environ.update(settings)
    os.environ[DIRECTORY] = str(directory)
    os.environ["MLFLOW_TRACKING_URI"] = "unused: the registry is a directory"
    # the environment of the controller and of most tests has nothing of what these import
    from serving import logs  # noqa: PLC0415
    from serving.__main__ import prepare  # noqa: PLC0415

    prepare(os.environ)
    logs.configure()
    from serving import run  # noqa: PLC0415 - imports what reads the environment
    from serving.settings import Settings  # noqa: PLC0415

    run.serve(f"{__name__}:application", Settings.from_env(os.environ))
    return 0


def application() -> Gate:
    """The application of one worker process of `serve`."""
    from serving import logs  # noqa: PLC0415
    from serving.run import make_server  # noqa: PLC0415
    from serving.settings import Settings  # noqa: PLC0415

    logs.configure()
    registry = DirectoryRegistry(Path(os.environ[DIRECTORY]))
    return make_server(Settings.from_env(os.environ), registry).app
