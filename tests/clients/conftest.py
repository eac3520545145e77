"""One model server for all clients, with models of every kind; these tests run in an environment without its code."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tools.model_server import ModelServer
from tools.scratch import REPO

KINDS = ("numeric", "regression", "strings", "tensor", "mixed", "typed")
SERVING = Path(os.environ["PLATFORM_TEST_ENVS"], "serving", "bin", "python")
_TYPES = {"small": "int32", "single": "float32", "moment": "datetime64[ns]"}


@dataclass(frozen=True)
class Sample:
    """Rows, and what the model's own `predict` and `predict_proba` say to them."""

    frame: pd.DataFrame
    predictions: list[Any]
    probabilities: list[float] | None


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model of each kind, made in the environment of the model server."""
    directory = tmp_path_factory.mktemp("models")
    command = [SERVING, "-m", "tools.sample_models", directory, *KINDS]
    subprocess.run(command, cwd=REPO, check=True, env=os.environ | {"PYTHONPATH": str(REPO)})
    return directory


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server that serves each kind under its name."""
    server = ModelServer(tmp_path_factory.mktemp("server"))
    for kind in KINDS:
        server.add_version(kind, models / kind / "model", alias="champion")
    with server:
        yield server


@pytest.fixture(scope="session")
def sample(models: Path) -> Callable[[str], Sample]:
    """Return a function that gives the rows and answers for a kind of model."""

    def load(kind: str) -> Sample:
        expected = json.loads((models / kind / "expected.json").read_text())
        frame = pd.DataFrame(expected["records"])
        frame = frame.astype({name: kind for name, kind in _TYPES.items() if name in frame})
        return Sample(frame, expected["predictions"], expected["probabilities"])

    return load


@pytest.fixture(scope="session")
def bearer(server: ModelServer) -> dict[str, str]:
    """The header that lets a client in."""
    return {"Authorization": f"Bearer {server.keys['client']}"}
