"""The sections `monitoring`, `triggers` and `batch`: what happens with a model once it is released."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipelines.project.types import Cron, Duration, Positive, Section, Share

DriftMethod = Literal["psi", "jensenshannon"]


class DriftTest(Section):
    """A distance between two distributions, and the value above which a column has drifted."""

    method: DriftMethod
    threshold: float = Field(gt=0)


class Drift(Section):
    """The drift test of each kind of column, and the share of drifted columns that counts as drift of the data."""

    number: DriftTest = DriftTest(method="psi", threshold=0.2)
    category: DriftTest = DriftTest(method="jensenshannon", threshold=0.1)
    share: Share = 0.3
    false_alarms: float = Field(default=0.01, gt=0, lt=1)
    """How often, at most, a look at data that has not drifted may call any column drifted: with few rows, chance alone
    passes a fixed threshold, so it is raised to what chance explains."""


class Monitoring(Section):
    """Which predictions are looked at, and how."""

    window_rows: Positive = 5000
    minimum_predictions: Positive = 500
    reference_rows: Positive = 20_000
    drift: Drift = Drift()
    performance_loss: float = Field(default=0.03, ge=0)
    """How much worse than at training the metric may get, beyond doubt, before it counts as lost."""
    maximum_age: Duration = "365d"


class Triggers(Section):
    """What starts a training besides a person, and what holds it back."""

    on_new_data: bool = True
    on_drift: bool = False
    on_performance_loss: bool = False
    schedule: Cron | None = None
    cool_down: Duration = "0s"
    """Least time between two trainings that nobody asked for."""
    max_per_day: Positive = 24


class Batch(Section):
    """How `platform score` computes."""

    engine: Literal["local", "spark"] = "local"
    part_rows: Positive = 50_000
