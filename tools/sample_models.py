"""Models as MLflow stores them, for tests and benchmarks of the model server: no MLflow server is needed.

python -m tools.sample_models DIRECTORY [--rows N] [KIND[:SEED]…]

Runs in the environment of the model server. Each KIND becomes DIRECTORY/KIND (with a seed other than 0
DIRECTORY/KIND-SEED, a model of the same signature that answers otherwise) with

    model/         the MLflow model directory: skops, signature, input example
    model.joblib   of numeric models the same estimator, without the names of its columns: it takes a matrix
    expected.json  {"records": […], "predictions": […], "probabilities": […] or null}: N rows (default: 50) and the
                   answers of the model's own predict; the probability is that of the positive class, with more than
                   two classes that of the predicted one. "tags": what a version of it gets at registration to be
                   compared with
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any

import joblib
import mlflow.sklearn
import numpy as np
import pandas as pd
import skops.io
import yaml
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from contract import EXAMPLE_OUTPUT_TAG, example_output

REPO = Path(__file__).resolve().parents[1]
SAMPLE = REPO / "projects" / "flight_delay"
ROWS = 20_000
EXPECTED_ROWS = 50
NUMBERS = [f"f{i}" for i in range(12)]
CARRIERS, DESTINATIONS = 16, 94
"""How many the sample's real data has."""


@dataclass(frozen=True)
class Sample:
    """A fitted estimator, rows of the kind it was trained on, and what MLflow is told of its input and output."""

    estimator: Any
    rows: Any
    signature: ModelSignature


def numeric(seed: int) -> Sample:
    """100 trees over 12 doubles, two classes."""
    frame = _numbers(seed)
    model = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed)
    return _sample(model.fit(frame, _labels(frame, seed)), frame)


def strings(seed: int) -> Sample:
    """Three classes whose labels are strings."""
    frame = _numbers(seed)
    labels = np.array(["early", "late", "on time"], dtype=object)[np.digitize(_target(frame, seed), [-1.0, 1.0])]
    model = HistGradientBoostingClassifier(max_iter=20, early_stopping=False, random_state=seed)
    return _sample(model.fit(frame, labels), frame)


def regression(seed: int) -> Sample:
    """A number for 12 doubles."""
    frame = _numbers(seed)
    model = HistGradientBoostingRegressor(max_iter=50, early_stopping=False, random_state=seed)
    return _sample(model.fit(frame, _target(frame, seed)), frame)


def tensor(seed: int) -> Sample:
    """Trained on a numpy matrix, so that its input is one tensor of the shape [-1, 12]."""
    frame = _numbers(seed)
    matrix = frame.to_numpy()
    model = HistGradientBoostingClassifier(max_iter=20, early_stopping=False, random_state=seed)
    model.fit(matrix, _labels(frame, seed))
    inputs = Schema([TensorSpec(np.dtype(np.float64), (-1, matrix.shape[1]))])
    return Sample(model, matrix, ModelSignature(inputs, Schema([TensorSpec(np.dtype(np.int64), (-1,))])))


def mixed(seed: int) -> Sample:
    """The pipeline of `flight_delay` over invented flights with the columns and gaps of the real ones."""
    declared = yaml.safe_load((SAMPLE / "project.yaml").read_text())
    frame = _flights(declared["data"]["features"], seed)
    late = frame["hour"] / 24 + frame["carrier"].str[-1].map(ord) % 5 / 4 + frame["wind_speed"].fillna(0) / 40
    late += np.random.default_rng(seed).normal(0, 0.6, len(frame))
    model = _sample_module().build(declared["training"]["parameters"], declared["data"]["features"], seed)
    model.fit(frame, (late > late.quantile(0.75)).astype("int64"))
    kinds = {"object": DataType.string, "float64": DataType.double, "int64": DataType.long}
    inputs = Schema([ColSpec(kinds[str(c.dtype)], n, required=not c.isna().any()) for n, c in frame.items()])
    return Sample(model, frame, ModelSignature(inputs, Schema([ColSpec(DataType.long)])))


def typed(seed: int) -> Sample:
    """Two classes, true and false; a column of each type that a signature can have, two of them with gaps."""
    generator = np.random.default_rng(seed)
    real = np.round(generator.normal(size=ROWS), 3)
    frame = pd.DataFrame(
        {
            "text": generator.choice(np.array(["north", "süd", 'a, "b"'], dtype=object), ROWS),
            "flag": generator.random(ROWS) < 0.5,
            "small": generator.integers(-100, 100, ROWS).astype(np.int32),
            "whole": generator.integers(-(1 << 40), 1 << 40, ROWS),
            "single": np.round(generator.normal(size=ROWS), 3).astype(np.float32),
            "real": np.where(generator.random(ROWS) < 0.2, np.nan, real),
            "moment": pd.Timestamp("2026-01-01") + pd.to_timedelta(generator.integers(0, 1 << 24, ROWS), unit="s"),
            "note": generator.choice(np.array(["a", "b", None], dtype=object), ROWS),
        }
    )
    target = np.asarray(real + frame["flag"] + frame["small"] / 100 + frame["whole"] / (1 << 41) > 0.5)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encode = (codes, ["text"]), ("drop", ["moment", "note"])
    trees = HistGradientBoostingClassifier(max_iter=20, early_stopping=False, random_state=seed)
    model = make_pipeline(make_column_transformer(*encode, remainder="passthrough"), trees)
    return _sample(model.fit(frame, target), frame)


KINDS: dict[str, Callable[[int], Sample]] = {
    made.__name__: made for made in (numeric, mixed, regression, tensor, strings, typed)
}


def write(kind: str, directory: Path, seed: int = 0, rows: int = EXPECTED_ROWS) -> None:
    """Make the model `kind` (a key of `KINDS`) and write it to `directory`, which must not exist; `rows` go into
    expected.json."""
    sample = KINDS[kind](seed)
    directory.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        skops.io.dump(sample.estimator, Path(scratch) / "model.skops")
        mlflow.sklearn.save_model(
            sample.estimator,
            str(directory / "model"),
            signature=sample.signature,
            input_example=_example(sample),
            serialization_format="skops",
            skops_trusted_types=skops.io.get_untrusted_types(file=Path(scratch) / "model.skops"),
            pip_requirements=[],
        )
    expected = json.dumps(_expected(sample, rows), default=pd.Timestamp.isoformat)
    (directory / "expected.json").write_text(expected)
    if kind not in ("mixed", "typed"):
        vars(sample.estimator).pop("feature_names_in_", None)
        joblib.dump(sample.estimator, directory / "model.joblib")


def _expected(sample: Sample, count: int) -> dict[str, Any]:
    rows = sample.rows[-count:]
    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=[str(i) for i in range(12)])
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    predictions, by_class = _answers(sample.estimator, rows)
    probabilities = None if by_class is None else [row[1] if len(row) == 2 else max(row) for row in by_class]
    tag = example_output(*_answers(sample.estimator, _example(sample)))
    return {
        "records": records,
        "predictions": predictions,
        "probabilities": probabilities,
        "tags": {EXAMPLE_OUTPUT_TAG: tag},
    }


def _example(sample: Sample) -> Any:
    return sample.rows[:3]


def _answers(estimator: Any, rows: Any) -> tuple[list[Any], list[list[float]] | None]:
    by_class = estimator.predict_proba(rows).tolist() if hasattr(estimator, "predict_proba") else None
    return np.asarray(estimator.predict(rows)).tolist(), by_class


def _sample(estimator: Any, frame: pd.DataFrame) -> Sample:
    return Sample(estimator, frame, infer_signature(frame, estimator.predict(frame)))


def _numbers(seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(ROWS, len(NUMBERS))), columns=NUMBERS)


def _target(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """Another function of the columns for each seed."""
    generator = np.random.default_rng(1000 + seed)
    values = frame.to_numpy()
    linear = values @ generator.normal(size=values.shape[1])
    return np.asarray(linear / 2 + values[:, seed % 12] * values[:, 5] + generator.normal(size=len(values)) / 4)


def _labels(frame: pd.DataFrame, seed: int) -> np.ndarray:
    return (_target(frame, seed) > 0).astype(np.int64)


def _flights(features: dict[str, str], seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    names = {
        "carrier": [f"{chr(65 + i)}{i % 10}" for i in range(CARRIERS)],
        "origin": ["EWR", "JFK", "LGA"],
        "destination": [f"D{i:02d}" for i in range(DESTINATIONS)],
    }
    columns: dict[str, Any] = {}
    for name, kind in features.items():
        if kind == "category":
            columns[name] = generator.choice(np.array(names[name], dtype=object), ROWS)
        elif name in _GAPS:
            values = np.round(generator.normal(50, 15, ROWS)) if kind == "integer" else generator.normal(50, 15, ROWS)
            columns[name] = np.where(generator.random(ROWS) < _GAPS[name], np.nan, values)
        elif kind == "integer":
            columns[name] = generator.integers(5, 24, ROWS)
        else:
            columns[name] = generator.uniform(80, 5000, ROWS).round()
    return pd.DataFrame(columns)


_GAPS = {
    "plane_age": 0.16,
    "plane_seats": 0.16,
    "plane_engines": 0.16,
    **dict.fromkeys(("temperature", "dew_point", "humidity", "wind_speed", "precipitation", "visibility"), 0.01),
    **dict.fromkeys(("area_precipitation", "area_visibility", "area_wind_speed"), 0.01),
    "wind_direction": 0.03,
    "pressure": 0.1,
    "pressure_change": 0.1,
}
"""Share of missing values by column, about as in the real data."""


def _sample_module() -> Any:
    spec = util.spec_from_file_location("sample_train", SAMPLE / "train.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(SAMPLE / "train.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Write the models that the command line names; those that are there already are left alone."""
    parser = argparse.ArgumentParser(prog="python -m tools.sample_models")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rows", type=int, default=EXPECTED_ROWS, metavar="N")
    parser.add_argument("models", nargs="*", metavar="KIND[:SEED]", default=list(KINDS), help="default: all kinds")
    arguments = parser.parse_intermixed_args()
    logging.getLogger("mlflow").setLevel(logging.ERROR)  # it warns that a virtual environment has no pip
    for text in arguments.models:
        kind, _, seed = text.partition(":")
        if kind not in KINDS or not (seed or "0").isdigit():
            parser.error(f"{text!r} is not KIND[:SEED]; kinds are {', '.join(KINDS)}")
        directory = arguments.directory / (kind if int(seed or 0) == 0 else f"{kind}-{seed}")
        if not directory.exists():
            write(kind, directory, int(seed or 0), arguments.rows)
        print(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
