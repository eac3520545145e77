"""The declaration of a project, ``projects/<name>/project.yaml``, as typed objects.

Light on purpose (standard library, pydantic, yaml): Airflow imports it each time it parses its DAGs.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from pipelines.declarations import explain, read_yaml
from pipelines.errors import StepError

FILE_NAME = "project.yaml"
PROJECT_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

Column = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$")]
Table = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$")]
EntryPoint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*:[A-Za-z_]\w*$")]
Cron = Annotated[str, StringConstraints(pattern=r"^(@(hourly|daily|weekly|monthly)|\S+( \S+){4})$")]
FeatureType = Literal["category", "number", "integer", "boolean"]
Metric = Literal["roc_auc", "average_precision", "log_loss", "brier", "calibration_error"]
DriftMethod = Literal["psi", "jensenshannon", "hellinger", "wasserstein", "kl_div"]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of every part: unknown keys and values of another type are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Data(Section):
    """Where the labelled rows come from and what their columns mean."""

    connections: list[str] = Field(min_length=1)
    schedule: Cron | None = None
    dbt_select: str = Field(min_length=1)
    table: Table
    entity_key: Column
    event_time: Column
    target: Column
    features: dict[Column, FeatureType] = Field(min_length=1)

    @model_validator(mode="after")
    def _roles_are_distinct(self) -> Data:
        roles = {"entity_key": self.entity_key, "event_time": self.event_time, "target": self.target}
        for role, column in roles.items():
            if column in self.features:
                raise ValueError(f"{column!r} is the {role}: it cannot be a feature too")
        if len(set(roles.values())) < len(roles):
            raise ValueError("entity_key, event_time and target must be three different columns")
        return self


class Split(Section):
    """The test window: the last days, or the last calendar months, of the event time."""

    test_days: Positive | None = None
    test_months: Positive | None = None

    @model_validator(mode="after")
    def _one_unit(self) -> Split:
        if (self.test_days is None) == (self.test_months is None):
            raise ValueError("give exactly one of test_days, test_months")
        return self


class Training(Section):
    """How a candidate is made."""

    entry_point: EntryPoint
    parameters: dict[str, int | float | str | bool | None] = Field(default_factory=dict)
    split: Split
    seed: int = Field(ge=0)
    minimum_rows: Positive = 1000


class Evaluation(Section):
    """What a candidate must reach before it may become the champion."""

    metric: Metric
    minimum: float
    max_loss: float = Field(ge=0)
    slices: list[Column] = Field(default_factory=list)


class DriftTest(Section):
    """A distance between two distributions, and the value above which a column has drifted."""

    method: DriftMethod
    threshold: float = Field(gt=0)


class Drift(Section):
    """The drift test of each kind of column, and the share of drifted columns that counts as drift of the data."""

    number: DriftTest = DriftTest(method="psi", threshold=0.2)
    category: DriftTest = DriftTest(method="jensenshannon", threshold=0.1)
    share: Share = 0.3


class Monitoring(Section):
    """Which predictions are looked at, and how."""

    window_rows: Positive = 5000
    minimum_predictions: Positive = 500
    reference_rows: Positive = 20_000
    drift: Drift = Drift()


class Triggers(Section):
    """What starts a training besides a person."""

    on_new_data: bool = True
    schedule: Cron | None = None


class Declaration(Section):
    """All of ``project.yaml``."""

    description: str = Field(min_length=1)
    data: Data
    training: Training
    evaluation: Evaluation
    monitoring: Monitoring = Monitoring()
    triggers: Triggers = Triggers()

    @model_validator(mode="after")
    def _slices_are_features(self) -> Declaration:
        unknown = [name for name in self.evaluation.slices if name not in self.data.features]
        if unknown:
            raise ValueError(f"evaluation.slices names what is not a feature: {', '.join(unknown)}")
        return self


class Project(Declaration):
    """A declaration with the name and the directory it was read from."""

    name: str
    directory: Path

    @property
    def file(self) -> Path:
        """The declaration's file."""
        return self.directory / FILE_NAME

    @property
    def source_digest(self) -> str:
        """The sha256 (64 hex characters) of the project's own files: its declaration and its code."""
        digest = hashlib.sha256()
        for file in sorted([self.file, *self.directory.rglob("*.py")]):
            digest.update(f"{file.relative_to(self.directory)}\0".encode() + file.read_bytes())
        return digest.hexdigest()


def project_names(repo: Path) -> list[str]:
    """The projects of the checkout `repo`, sorted."""
    return sorted(path.parent.name for path in (repo / "projects").glob(f"*/{FILE_NAME}"))


def load_project(repo: Path, name: str) -> Project:
    """Read and check ``projects/<name>/project.yaml``; StepError with file, key and what is allowed."""
    directory = repo / "projects" / name
    if not PROJECT_NAME.fullmatch(name) or not (directory / FILE_NAME).is_file():
        known = ", ".join(project_names(repo)) or "none yet"
        raise StepError(
            f"no project {name!r}", where=str(repo / "projects"), do=f"projects with a {FILE_NAME}: {known}"
        )
    content = read_yaml(directory / FILE_NAME)
    try:
        declaration = Declaration.model_validate(content)
    except ValidationError as error:
        raise explain(error, Declaration, f"projects/{name}/{FILE_NAME}") from None
    return Project(name=name, directory=directory, **dict(declaration))
