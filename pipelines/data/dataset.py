"""A snapshot in memory: read and verified, split by time, and refused if nothing can be learned from it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines import objects
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import FeatureType, Project, Split, Task, seconds

VALIDATION_SHARE = 0.25


@dataclass(frozen=True)
class Snapshot:
    """The rows of a snapshot, in the order of their event time."""

    uri: str
    digest: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Window:
    """One side of a split, each part with the same index: `x` (features as raw values), `y` (0 or 1, or the value),
    `rows` (all columns)."""

    x: pd.DataFrame
    y: pd.Series
    rows: pd.DataFrame
    start: pd.Timestamp
    end: pd.Timestamp


def load_snapshot(env: Environment, project: Project, uri: str) -> Snapshot:
    """Read the snapshot at `uri`; StepError if it is not there, was changed, or lacks a declared column."""
    bucket, key = objects.split_uri(uri)
    with objects.s3_errors(uri):
        content = objects.client(env).get_object(Bucket=bucket, Key=key)["Body"].read()
    digest = hashlib.sha256(content).hexdigest()
    expected = key.rsplit("/", 1)[-1].removesuffix(".parquet")
    if digest != expected:
        raise StepError(
            f"the snapshot was changed: its content has digest {digest}", where=uri, do="make a new one: `snapshot`"
        )
    rows = pq.read_table(io.BytesIO(content)).to_pandas()
    data = project.data
    missing = [
        name for name in (data.entity_key, data.event_time, data.target, *data.features) if name not in rows.columns
    ]
    if missing:
        raise StepError(
            f"the snapshot has no column {', '.join(missing)}",
            where=uri,
            do="the declaration changed since it was made: train, evaluate and register again",
        )
    return Snapshot(uri=uri, digest=digest, rows=rows)


def features_of(rows: pd.DataFrame, project: Project) -> pd.DataFrame:
    """The features of `rows` as the model takes them, in declared order."""
    return typed(rows, project.data.features, project.data.nullable)


def typed(rows: pd.DataFrame, features: Mapping[str, FeatureType], nullable: Collection[str] = ()) -> pd.DataFrame:
    """The columns `features` of `rows` as a model takes them, in this order.

    Categories are strings or None, numbers floats; integers and booleans that are `nullable`, or have missing values,
    are floats too.
    """
    columns: dict[str, pd.Series] = {}
    for name, kind in features.items():
        values = rows[name]
        if kind == "category":
            columns[name] = values.astype(object).where(values.notna(), None)
        elif kind == "number" or name in nullable or values.isna().any():
            columns[name] = values.astype("float64")
        else:
            columns[name] = values.astype("int64" if kind == "integer" else "bool")
    return pd.DataFrame(columns, index=rows.index)


def test_start(times: pd.Series, split: Split) -> pd.Timestamp:
    """The first moment of the test window: midnight of its first day, or of its first month's first day."""
    last = pd.Timestamp(times.max()).normalize()
    if split.test_months is not None:
        return last.replace(day=1) - pd.DateOffset(months=split.test_months - 1)
    return last - pd.Timedelta(days=(split.test_days or 1) - 1)


def split_by_time(snapshot: Snapshot, project: Project) -> tuple[Window, Window]:
    """(train, test): what lies before the test window, as far back as `training.history` says, and the test window.

    Refused if there are too few rows, or if one side is unusable.
    """
    rows, training = snapshot.rows, project.training
    if not len(rows):
        raise StepError("the snapshot has no rows", where=snapshot.uri, do="load data whose outcome is known")
    times = rows[project.data.event_time]
    start = test_start(times, training.split)
    early, late = times < start, times >= start
    if training.history is not None:
        early &= times >= start - pd.Timedelta(seconds=seconds(training.history))
    used = int(early.sum() + late.sum())
    if used < training.minimum_rows:
        raise StepError(
            f"the snapshot has {used} rows, training needs {training.minimum_rows}",
            where=snapshot.uri,
            do="load more data, or lower training.minimum_rows",
        )
    x = features_of(rows, project)
    return (
        _window(f"training window (before {start:%Y-%m-%d})", rows[early], x[early], project, snapshot.uri),
        _window(f"test window (from {start:%Y-%m-%d})", rows[late], x[late], project, snapshot.uri),
    )


def validation_split(train: Window, project: Project, uri: str) -> tuple[Window, Window]:
    """(inner, validation): the training window again split by time, its last quarter of rows to judge a search on."""
    times = train.rows[project.data.event_time]
    late = times >= times.quantile(1 - VALIDATION_SHARE, interpolation="nearest")
    return (
        _window("search's training window", train.rows[~late], train.x[~late], project, uri),
        _window("search's validation window", train.rows[late], train.x[late], project, uri),
    )


def _window(name: str, rows: pd.DataFrame, x: pd.DataFrame, project: Project, uri: str) -> Window:
    """One side of a split, refused if its target cannot be learned from or judged by."""
    target, times = rows[project.data.target], rows[project.data.event_time]
    trouble = _trouble(target, project.task)
    if trouble is not None:
        raise StepError(f"the {name} {trouble[0]}", where=uri, do=trouble[1])
    y = target.astype("int64" if project.task == "classification" else "float64")
    return Window(x, y, rows, times.min(), times.max())


def _trouble(target: pd.Series, task: Task) -> tuple[str, str] | None:
    """What is wrong with the target of a window, and what to do; None if nothing is."""
    if not len(target):
        return "is empty", "load more data, or change training.split or training.history"
    values = pd.unique(target).astype("float64")
    return _no_class(values) if task == "classification" else _no_value(values)


def _no_class(values: NDArray[np.float64]) -> tuple[str, str] | None:
    if not set(values) <= {0, 1}:
        told = ", ".join(f"{value:g}" for value in sorted(values)[:5])
        return f"has the target values {told}", "the target must be a boolean, or 0 and 1; or declare task: regression"
    if len(values) == 1:
        return f"has only the class {values[0]:g}", "load rows of both classes, or change the test window"
    return None


def _no_value(values: NDArray[np.float64]) -> tuple[str, str] | None:
    if not np.isfinite(values).all():
        return "has NaN or infinity as target", "correct it in the mart: a target that is not known yet is null"
    if len(values) == 1:
        return f"has only the target {values[0]:g}", "nothing can be learned from a constant: look at data.target"
    return None
