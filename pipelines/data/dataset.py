"""A snapshot in memory: read and verified, split by time, and refused if nothing can be learned from it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import pandas as pd
import pyarrow.parquet as pq

from pipelines import objects
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.project import Project, Split


@dataclass(frozen=True)
class Snapshot:
    """The rows of a snapshot, in the order of their event time."""

    uri: str
    digest: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Window:
    """One side of a split: `x` (features as raw values), `y` (0 or 1), `rows` (all columns), same index."""

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
    """The features of `rows` as the model takes them, in declared order.

    Categories are strings or None, numbers floats; integers and booleans with missing values are floats too.
    """
    columns: dict[str, pd.Series] = {}
    for name, kind in project.data.features.items():
        values = rows[name]
        if kind == "category":
            columns[name] = values.astype(object).where(values.notna(), None)
        elif kind == "number" or values.isna().any():
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
    """(train, test): everything before the test window, and the test window; refused if one side is unusable."""
    data, rows = project.data, snapshot.rows
    needed = project.training.minimum_rows
    if len(rows) < needed:
        raise StepError(
            f"the snapshot has {len(rows)} rows, training needs {needed}",
            where=snapshot.uri,
            do="load more data, or lower training.minimum_rows",
        )
    start = test_start(rows[data.event_time], project.training.split)
    x = features_of(rows, project)
    late = rows[data.event_time] >= start
    sides = []
    for name, side in (("training", ~late), ("test", late)):
        part = rows[side]
        _check_side(name, part[data.target], snapshot.uri, start)
        times = part[data.event_time]
        sides.append(Window(x[side], part[data.target].astype("int64"), part, times.min(), times.max()))
    return sides[0], sides[1]


def _check_side(name: str, target: pd.Series, uri: str, start: pd.Timestamp) -> None:
    """Refuse a side without rows, with one class only, or whose target is not 0 and 1."""
    values = sorted(int(value) for value in target.unique())
    if not values:
        problem, do = "is empty", "load more months, or choose a shorter test window (training.split)"
    elif not set(values) <= {0, 1}:
        problem, do = f"has the target values {values[:5]}", "the target must be a boolean, or 0 and 1"
    elif len(values) == 1:
        problem, do = f"has only the class {values[0]}", "load rows of both classes, or change the test window"
    else:
        return
    raise StepError(f"the {name} window (split at {start:%Y-%m-%d}) {problem}", where=uri, do=do)
