"""The section `training`: how a candidate is made."""

from __future__ import annotations

from pydantic import Field, model_validator

from pipelines.project.types import Duration, EntryPoint, Positive, Section, Value


class Split(Section):
    """The test window: the last days, or the last calendar months, of the event time."""

    test_days: Positive | None = None
    test_months: Positive | None = None

    @model_validator(mode="after")
    def _one_unit(self) -> Split:
        if (self.test_days is None) == (self.test_months is None):
            raise ValueError("give exactly one of test_days, test_months")
        return self


class Range(Section):
    """The values that a search may try for one parameter: `choices`, or the numbers from `low` to `high`.

    With two whole numbers only whole numbers are tried; `log` tries small ones as often as large ones.
    """

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: list[Value] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        bounded = self.low is not None and self.high is not None
        if (self.choices is not None) == bounded or (self.low is None) != (self.high is None):
            raise ValueError("give either choices, or low and high")
        if self.low is not None and self.high is not None and (self.low >= self.high or (self.log and self.low <= 0)):
            raise ValueError("low must be less than high, and above 0 with log")
        return self


class Search(Section):
    """A search for parameters before the training: its trials see the training window only."""

    trials: Positive = 20
    timeout: Duration = "30m"
    space: dict[str, Range] = Field(min_length=1)


class Resources(Section):
    """What a training may use at most."""

    memory_mb: Positive = 4096
    threads: Positive = 1
    timeout: Duration = "2h"


class Training(Section):
    """How a candidate is made."""

    entry_point: EntryPoint
    parameters: dict[str, Value] = Field(default_factory=dict)
    search: Search | None = None
    split: Split
    history: Duration | None = None
    """How far before the test window the training rows reach; all of them without it."""
    seed: int = Field(ge=0)
    minimum_rows: Positive = 1000
    resources: Resources = Resources()
