"""What a version learnt from, kept with its training run: sketches of the features and answers, and calibration."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow import MlflowClient
from pydantic import BaseModel, ConfigDict

from pipelines.errors import StepError
from pipelines.monitoring import sketch
from pipelines.monitoring.estimate import Calibration, calibrate
from pipelines.monitoring.sketch import Bins, Sketch
from pipelines.project import FeatureType, Project, Task
from pipelines.training.metrics import Array

ARTIFACTS = "monitoring"
BASELINE_FILE = "baseline.json"
CALIBRATION_FILE = "calibration.json"
ANSWER_NAMES: dict[Task, str] = {"classification": "predicted_probability", "regression": "predicted_value"}


class Column(BaseModel):
    """A feature, or the answer: its declared type, its bins, and the training rows in them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: FeatureType
    bins: Bins
    sketch: Sketch


class Content(BaseModel):
    """``baseline.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Task
    columns: dict[str, Column]


class Baseline(Content):
    """What the two files hold: the columns (features as declared, the answer last), and how the answers did."""

    calibration: Calibration

    @property
    def answer(self) -> str:
        """The name of the column of answers."""
        return ANSWER_NAMES[self.task]

    @property
    def kinds(self) -> dict[str, FeatureType]:
        """The declared type of each column."""
        return {name: column.type for name, column in self.columns.items()}

    @property
    def bins(self) -> dict[str, Bins]:
        """The bins of each column."""
        return {name: column.bins for name, column in self.columns.items()}


def make(project: Project, x_train: pd.DataFrame, test_answer: Array, test_y: pd.Series) -> Baseline:
    """The baseline of a model: `x_train` are the features it was fitted on, `test_answer` what it answers on the test
    window, `test_y` what came true there."""
    features = sketch.arrow(x_train, project.data.features)
    columns = {name: _column(features.column(name), kind) for name, kind in project.data.features.items()}
    columns[ANSWER_NAMES[project.task]] = _column(pa.array(np.asarray(test_answer, dtype=float)), "number")
    return Baseline(task=project.task, columns=columns, calibration=calibrate(project.task, test_answer, test_y))


def write(directory: Path, project: Project, x_train: pd.DataFrame, test_answer: Array, test_y: pd.Series) -> None:
    """Write `make` as ``baseline.json`` and ``calibration.json`` into `directory`, which is there."""
    made = make(project, x_train, test_answer, test_y)
    (directory / BASELINE_FILE).write_text(made.model_dump_json(exclude={"calibration"}), encoding="utf-8")
    (directory / CALIBRATION_FILE).write_text(made.calibration.model_dump_json(), encoding="utf-8")


def find(client: MlflowClient, run_id: str) -> Baseline | None:
    """The baseline of the training run; None if it has none."""
    if not any(item.path == f"{ARTIFACTS}/{BASELINE_FILE}" for item in client.list_artifacts(run_id, ARTIFACTS)):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(client.download_artifacts(run_id, ARTIFACTS, scratch))
        content = Content.model_validate_json((directory / BASELINE_FILE).read_bytes())
        calibration = Calibration.model_validate_json((directory / CALIBRATION_FILE).read_bytes())
    return Baseline(task=content.task, columns=content.columns, calibration=calibration)


def load(client: MlflowClient, run_id: str) -> Baseline:
    """The baseline of the training run; StepError if it has none."""
    found = find(client, run_id)
    if found is None:
        raise StepError(
            f"run {run_id} has no {ARTIFACTS}/{BASELINE_FILE}",
            where="MLflow",
            do="it was trained before baselines were kept, or the file was deleted: train and register again",
        )
    return found


def _column(values: pa.Array | pa.ChunkedArray, kind: FeatureType) -> Column:
    bins = sketch.bins_of(values, kind)
    return Column(type=kind, bins=bins, sketch=bins.fold(values))
