"""The declaration of a project, ``projects/<name>/project.yaml``: one module a section."""

from pipelines.project.data import Data
from pipelines.project.declaration import (
    FILE_NAME,
    METRICS,
    PROJECT_NAME,
    Declaration,
    Project,
    load_project,
    project_names,
)
from pipelines.project.evaluation import Evaluation, MissingValues
from pipelines.project.monitoring import Batch, Drift, DriftMethod, DriftTest, Monitoring, Triggers
from pipelines.project.release import Limits, Release, Step, Strategy
from pipelines.project.training import Range, Resources, Search, Split, Training
from pipelines.project.types import Duration, FeatureType, Metric, Task, Value, seconds

__all__ = [
    "FILE_NAME",
    "METRICS",
    "PROJECT_NAME",
    "Batch",
    "Data",
    "Declaration",
    "Drift",
    "DriftMethod",
    "DriftTest",
    "Duration",
    "Evaluation",
    "FeatureType",
    "Limits",
    "Metric",
    "MissingValues",
    "Monitoring",
    "Project",
    "Range",
    "Release",
    "Resources",
    "Search",
    "Split",
    "Step",
    "Strategy",
    "Task",
    "Training",
    "Triggers",
    "Value",
    "load_project",
    "project_names",
    "seconds",
]
