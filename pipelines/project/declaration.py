"""The declaration of a project, ``projects/<name>/project.yaml``, as typed objects.

Light on purpose (standard library, pydantic, yaml): Airflow imports it each time it parses its DAGs.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from pipelines.declarations import explain, read_yaml
from pipelines.errors import StepError
from pipelines.project.data import Data
from pipelines.project.evaluation import Evaluation
from pipelines.project.monitoring import Batch, Monitoring, Triggers
from pipelines.project.release import Release
from pipelines.project.training import Training
from pipelines.project.types import Metric, Section, Task

FILE_NAME = "project.yaml"
PROJECT_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
METRICS: dict[Task, tuple[Metric, ...]] = {
    "classification": ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error"),
    "regression": ("rmse", "mae", "median_absolute_error", "r2"),
}


class Declaration(Section):
    """All of ``project.yaml``."""

    description: str = Field(min_length=1)
    task: Task = "classification"
    data: Data
    training: Training
    evaluation: Evaluation
    release: Release = Release()
    monitoring: Monitoring = Monitoring()
    triggers: Triggers = Triggers()
    batch: Batch = Batch()

    @model_validator(mode="after")
    def _slices_are_features(self) -> Declaration:
        unknown = [name for name in self.evaluation.slices if name not in self.data.features]
        if unknown:
            raise ValueError(f"evaluation.slices names what is not a feature: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _metric_fits_task(self) -> Declaration:
        known = METRICS[self.task]
        if self.evaluation.metric not in known:
            raise ValueError(f"evaluation.metric of a {self.task} is one of {', '.join(known)}")
        if self.task == "regression" and self.evaluation.max_calibration_error is not None:
            raise ValueError("evaluation.max_calibration_error is for a classification only")
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
