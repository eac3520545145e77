"""What is measured: how many rows a request has, how many connections send at once, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

Record = dict[str, Any]
WriteBody = Callable[[Sequence[Record]], Any]
ReadAnswers = Callable[[Any], Sequence[Any]]


@dataclass(frozen=True)
class Case:
    """Requests of `rows` rows on `connections` connections, each of which sends the next when it has its answer."""

    rows: int
    connections: int

    @property
    def title(self) -> str:
        return f"{self.rows} row{'s' * (self.rows > 1)} × {self.connections}"


ONE_BY_ONE, MANY_CALLERS, BATCHES = Case(1, 1), Case(1, 32), Case(64, 8)
CASES = (ONE_BY_ONE, MANY_CALLERS, BATCHES)
BODIES = {1: 256, 64: 32}
"""How many different bodies are sent in turn, by the rows of each."""


@dataclass(frozen=True)
class Measurement:
    """One run: requests a second, latencies in milliseconds, and requests that were not answered with a 2xx."""

    rate: float
    p50: float
    p90: float
    p99: float
    max: float
    errors: int

    @classmethod
    def median(cls, runs: Sequence[Measurement]) -> Measurement:
        """The run with the median rate, with the errors of all of them."""
        rate = median_low(run.rate for run in runs)
        middle = next(run for run in runs if run.rate == rate)
        errors = sum(run.errors for run in runs)
        return cls(middle.rate, middle.p50, middle.p90, middle.p99, middle.max, errors)


@dataclass(frozen=True)
class Sample:
    """A model of `tools.sample_models` on disk."""

    directory: Path

    @property
    def model(self) -> Path:
        """MLflow's model directory."""
        return self.directory / "model"

    @property
    def joblib(self) -> Path:
        return self.directory / "model.joblib"

    @property
    def tags(self) -> dict[str, str]:
        return dict(self._expected()["tags"])

    def pool(self, rows: int) -> list[tuple[list[Record], list[Any]]]:
        """The rows of each body, and what the model's own predict says of them."""
        expected = self._expected()
        records, predictions = expected["records"], expected["predictions"]
        starts = [rows * number for number in range(BODIES[rows])]
        return [(records[i : i + rows], predictions[i : i + rows]) for i in starts]

    def _expected(self) -> dict[str, Any]:
        return dict(json.loads((self.directory / "expected.json").read_text()))
