"""Model servers as processes of their own, over a registry that is a directory, with load on them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.model_server import HOST, ModelServer

LOAD = Path(__file__).with_name("load.py")
Start = Callable[..., ModelServer]


@dataclass(frozen=True)
class Sample:
    """A model directory, and what its own predict says to some records."""

    model: Path
    records: list[dict[str, Any]]
    predictions: list[Any]
    probabilities: list[float]
    tags: dict[str, str]


@dataclass(frozen=True)
class Reply:
    """One answer under load. `status` 0: the connection broke. Times in seconds."""

    name: str
    status: int
    at: float
    latency: float
    body: str

    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Sample]:
    """Return a function that gives the sample model of a name such as `numeric` or `numeric:1`."""
    directory = tmp_path_factory.mktemp("models")

    def sample(kind: str) -> Sample:
        made = directory / kind.replace(":", "-")
        if not made.exists():
            subprocess.run([sys.executable, "-m", "tools.sample_models", str(directory), kind], check=True)
        expected = json.loads((made / "expected.json").read_text())
        return Sample(
            made / "model",
            expected["records"],
            expected["predictions"],
            expected["probabilities"],
            expected.get("tags", {}),
        )

    return sample


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Start]:
    """Return a function that makes a model server; it is gone after the test."""
    made: list[ModelServer] = []

    def make(settings: Mapping[str, str] | None = None) -> ModelServer:
        made.append(ModelServer(tmp_path / f"server-{len(made)}", settings))
        return made[-1]

    yield make
    for one in made:
        one.kill()


class Load:
    """Load that runs in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self._process = process
        self._output = output

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> list[Reply]:
        """End it, and return all replies in the order in which they came."""
        if self._process.stdin is not None and self._process.poll() is None:
            self._process.stdin.write("stop\n")
            self._process.stdin.close()
        assert self._process.wait(60) == 0
        return [Reply(*json.loads(line)) for line in self._output.read_text().splitlines()]


@contextmanager
def load(
    server: ModelServer, requests: Sequence[Sequence[Any]], *, connections: int = 8, seconds: float = 120.0
) -> Iterator[Load]:
    """Have requests ([path, body, name, headers]) sent to the server, in a loop, until `stop` or `seconds` are over."""
    prepared = [[path, json.dumps(body), *rest] for path, body, *rest in requests]
    with tempfile.TemporaryDirectory() as scratch:
        job = Path(scratch, "job.json")
        content = {"host": HOST, "port": server.port, "key": server.keys["client"], "connections": connections}
        job.write_text(json.dumps(content | {"seconds": seconds, "requests": prepared}))
        output = Path(scratch, "replies")
        with output.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, str(LOAD), str(job)], stdin=subprocess.PIPE, stdout=file, text=True
            )
            try:
                yield Load(process, output)
            finally:
                process.kill()
                process.wait()


def predict(model: str, records: Sequence[Mapping[str, Any]], name: str = "") -> list[Any]:
    """A request for `load`."""
    return [f"/models/{model}/predict", {"records": list(records)}, name]


def journal_entries(server: ModelServer) -> list[dict[str, Any]]:
    """All whole entries of a server's journal."""
    lines = [
        line
        for file in sorted(server.data.glob("journal/worker-*/*.log"))
        for line in file.read_bytes().split(b"\n")[:-1]
    ]
    return [json.loads(line.partition(b" ")[2]) for line in lines]
