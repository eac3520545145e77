"""What the tests of a loader do with it."""

from pathlib import Path

import pytest
import yaml

from serving.errors import VersionRefused
from serving.models.loader import Loader
from serving.models.model import ServedModel
from tests.serving.fakes import FakeRegistry


def load(loader: Loader, registry: FakeRegistry, directory: Path, tags: dict[str, str] | None = None) -> ServedModel:
    return loader.load(registry.version("m", registry.add("m", directory, tags)), "champion")


def refusal(loader: Loader, registry: FakeRegistry, directory: Path, tags: dict[str, str] | None = None) -> str:
    with pytest.raises(VersionRefused) as caught:
        load(loader, registry, directory, tags)
    return str(caught.value)


def artifacts(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.is_dir()]


def edit_mlmodel(directory: Path, **changes: object) -> Path:
    path = directory / "MLmodel"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    return directory
