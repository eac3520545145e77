"""The section `release`: how a candidate that passed the gate becomes the champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipelines.project.types import Duration, Section, Share

Strategy = Literal["direct", "shadow", "canary"]


class Step(Section):
    """One step of a release; it ends when it has seen enough requests and enough time."""

    share: int = Field(ge=0, le=100)
    """Percent of the traffic that the candidate answers; 0: it gets a copy of all of it, as the shadow."""
    requests: int = Field(default=0, ge=0)
    """Predictions of the candidate at least."""
    time: Duration = "0s"


class Limits(Section):
    """What the candidate may do while it is watched; one that is null is not looked at."""

    error_rate: Share | None = 0.01
    """How much more often than the champion it may fail a request."""
    latency_ratio: float | None = Field(default=2.0, gt=1)
    """Its median latency, divided by the champion's."""
    disagreement: float | None = Field(default=0.25, gt=0)
    """Mean distance of its answers from the champion's for the same rows: of probabilities, or of values in standard
    deviations of the champion's."""
    output_drift: float | None = Field(default=0.25, gt=0)
    """PSI of its answers against those that it gave on its test window."""
    performance_loss: float | None = Field(default=None, ge=0)
    """How much worse than the champion in the declared metric, where outcomes come in time, beyond doubt."""


class Release(Section):
    """How a candidate that passed the gate becomes the champion. The first version of a model is always direct."""

    strategy: Strategy = "direct"
    steps: list[Step] = Field(default_factory=list)
    limits: Limits = Limits()
    poll: Duration = "30s"
    timeout: Duration = "7d"
    """After this a release that has not seen enough is rolled back."""

    @model_validator(mode="after")
    def _steps_fit(self) -> Release:
        shares = [step.share for step in self.steps]
        if self.strategy == "direct" and shares:
            raise ValueError("strategy direct has no steps")
        if self.strategy == "shadow" and (not shares or any(shares)):
            raise ValueError("strategy shadow needs steps, each with share 0")
        if self.strategy == "canary" and (not any(shares) or shares != sorted(shares)):
            raise ValueError("strategy canary needs steps of growing share, at least one of them above 0")
        return self
