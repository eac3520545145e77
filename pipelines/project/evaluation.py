"""The section `evaluation`: what a candidate must reach before it may be released."""

from __future__ import annotations

from pydantic import Field

from pipelines.project.types import Column, Metric, Positive, Section, Share


class MissingValues(Section):
    """The test rows with a share of their values taken away at random: how much worse the metric may get."""

    share: Share = 0.1
    max_loss: float = Field(ge=0)


class Evaluation(Section):
    """What a candidate must reach before it may be released."""

    metric: Metric
    minimum: float
    """The bound of the metric: not less than this, or not more where less is better."""
    max_loss: float = Field(ge=0)
    """How much worse than the champion on the same rows."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    bootstrap: Positive = 200
    slices: list[Column] = Field(default_factory=list)
    slice_max_loss: float | None = Field(default=None, ge=0)
    """How much worse than the champion in any slice, beyond doubt (`confidence`); not looked at without it."""
    slice_minimum_rows: Positive = 200
    max_calibration_error: float | None = Field(default=None, gt=0)
    max_latency_ms: float | None = Field(default=None, gt=0)
    """Of a single row through the model's own `predict`, median."""
    missing_values: MissingValues | None = None
