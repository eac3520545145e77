"""What the sections of a declaration are made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Column = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")]
Table = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$")]
EntryPoint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*:[A-Za-z_]\w*$")]
Cron = Annotated[str, StringConstraints(pattern=r"^(@(hourly|daily|weekly|monthly)|\S+( \S+){4})$")]
Duration = Annotated[str, StringConstraints(pattern=r"^\d{1,6}[smhd]$")]
"""A length of time: a whole number and one of s, m, h, d (`30s`, `2h`)."""
Value = int | float | str | bool | None
Task = Literal["classification", "regression"]
FeatureType = Literal["category", "number", "integer", "boolean"]
Metric = Literal[
    "roc_auc",
    "average_precision",
    "log_loss",
    "brier",
    "calibration_error",
    "rmse",
    "mae",
    "median_absolute_error",
    "r2",
]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Section(BaseModel):
    """Base of every part: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def seconds(duration: str) -> int:
    """The seconds of a `Duration`."""
    return int(duration[:-1]) * _UNIT_SECONDS[duration[-1]]
