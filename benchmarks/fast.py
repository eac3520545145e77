"""Compiled models beside their own predict: `python -m benchmarks.fast`, in the environment of the model server.

Each figure is microseconds for a request, from checked rows to predictions and probabilities, in one thread, with
other rows each time. "20 × 1" are 20 requests of one row that are joined to one batch.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from serving.fast import compile_fast
from serving.models.model import Engine, Estimator
from serving.models.signature import Field, Rows, Signature
from tools import sample_models

REQUESTS = 64
"""Different requests of a size that are taken in turn."""
SECONDS = 0.4
"""How long a figure is measured."""
SIZES = (1, 64, 1024)
TYPES = {"object": "string", "int64": "long", "float64": "double"}


def models() -> dict[str, tuple[Any, pd.DataFrame]]:
    """Return the fitted models and rows of the kind that they were trained on, by what they are called in the table."""
    numeric, mixed = sample_models.numeric(0), sample_models.mixed(0)
    frame, labels = numeric.rows, (numeric.rows["f0"] * numeric.rows["f1"] + numeric.rows["f2"] > 0).astype(int)
    three = np.digitize(frame.sum(axis=1), [-2.0, 2.0])
    texts = list(mixed.rows.select_dtypes("object").columns)
    others = [name for name in mixed.rows.columns if name not in texts]
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), texts), (make_pipeline(SimpleImputer(), StandardScaler()), others)
    )
    half = len(frame) // 2
    return {
        "HistGradientBoosting, 100 trees, 12 numbers": (numeric.estimator, frame),
        "flight_delay, 150 trees of 63 leaves, 19 mixed": (mixed.estimator, mixed.rows),
        "HistGradientBoosting, 3 classes × 100 trees": (HistGradientBoostingClassifier().fit(frame, three), frame),
        "GradientBoosting, 100 trees": (GradientBoostingClassifier().fit(frame[:half], labels[:half]), frame),
        "RandomForest, 100 trees to the last leaf": (RandomForestClassifier().fit(frame, labels), frame),
        "one hot, scaled, LogisticRegression, mixed": (
            make_pipeline(encoded, LogisticRegression(max_iter=300)).fit(mixed.rows, mixed.rows["hour"] > 12),
            mixed.rows,
        ),
        "scaled, MLP of 64 × 32": (
            make_pipeline(StandardScaler(), MLPClassifier((64, 32), max_iter=3)).fit(frame, labels),
            frame,
        ),
    }


def main() -> None:
    """Measure and print a line for each model."""
    warnings.simplefilter("ignore")
    columns = ("1 row", "20 × 1", "64 rows", "1024 rows")
    print(f"{'µs: own predict → compiled':<50}" + "".join(f"{name:>20}" for name in columns) + f"{'load, ms':>10}")
    for name, (model, frame) in models().items():
        signature = Signature(
            Field(str(column), TYPES[str(values.dtype)], not values.isna().any()) for column, values in frame.items()
        )
        own = Estimator(model, signature)
        started = time.perf_counter()
        engine = compile_fast(model, signature, _requests(frame, 5)[0], own)
        load = (time.perf_counter() - started) * 1000
        if engine is None:
            sys.exit(f"{name} is not compiled")
        pairs = [(measure(own, frame, size, 1), measure(engine, frame, size, 1)) for size in SIZES]
        pairs.insert(1, (measure(own, frame, 1, 20), measure(engine, frame, 1, 20)))
        print(f"{name:<50}" + "".join(f"{before:>11.0f} →{after:>7.0f}" for before, after in pairs) + f"{load:>10.0f}")


def measure(engine: Engine, frame: pd.DataFrame, rows: int, joined: int) -> float:
    """Return the microseconds that `joined` requests of `rows` take together: the median."""
    requests = _requests(frame, rows)

    def answer(turn: int) -> None:
        batch = [requests[(turn * joined + i) % len(requests)] for i in range(joined)]
        engine.predict(engine.join([engine.encode(request) for request in batch]))

    return _median(answer) * 1e6


def _median(call: Callable[[int], None]) -> float:
    call(0)
    seconds: list[float] = []
    end = time.perf_counter() + SECONDS
    while (started := time.perf_counter()) < end:
        call(len(seconds))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def _requests(frame: pd.DataFrame, rows: int) -> list[Rows]:
    count = min(REQUESTS, len(frame) // rows)
    values = {str(n): c.astype(object).where(c.notna(), None).tolist() for n, c in frame[: count * rows].items()}
    return [
        Rows(rows, {n: column[start : start + rows] for n, column in values.items()}, [None] * rows)
        for start in range(0, count * rows, rows)
    ]


if __name__ == "__main__":
    main()
