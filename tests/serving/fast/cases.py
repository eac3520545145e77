"""Data, and the comparison of a compiled engine with the model's own predict, for the tests of `serving.fast`."""

import logging
import math
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature

from serving.fast import compile_fast
from serving.models.model import Engine, Estimator, PredictionFailed
from serving.models.signature import Rows, Signature, parse_signature

ROWS = 300
CITIES = np.array(["Oslo", "Bern", "Rome", "Bonn", "Graz", "Kyiv", "Riga", "Cork"], dtype=object)


def numbers(seed: int = 0, rows: int = ROWS, gaps: bool = False) -> pd.DataFrame:
    """Five doubles, one float32, one integer; with `gaps` a tenth of two doubles is missing."""
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(chance.normal(size=(rows, 5)).round(3), columns=list("abcde"))
    frame["single"] = (chance.normal(size=rows) / 3).astype(np.float32)
    frame["whole"] = chance.integers(-5, 20, rows)
    if gaps:
        for name in ("a", "c"):
            frame[name] = frame[name].mask(chance.random(rows) < 0.1)
    return frame


def mixed(seed: int = 0, rows: int = ROWS) -> pd.DataFrame:
    """Strings of which some are rare and some are missing, a boolean, numbers with gaps."""
    chance = np.random.default_rng(seed)
    shares = np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.03, 0.01, 0.01])
    frame = numbers(seed, rows, gaps=True)
    frame.insert(1, "city", chance.choice(CITIES, rows, p=shares))
    frame["gate"] = pd.Series(chance.choice(CITIES[:5], rows)).where(chance.random(rows) > 0.1, None)
    frame["late"] = chance.random(rows) < 0.4
    return frame


def target(frame: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """A number that depends on all columns."""
    parts = pd.DataFrame({n: c.map(hash_of) if c.dtype == object else c.astype(float) for n, c in frame.items()})
    values = parts.fillna(-1.0).to_numpy()
    weights = np.random.default_rng(seed + 100).normal(size=values.shape[1])
    return np.asarray(values @ weights / 3 + np.abs(values[:, 0]))


def hash_of(text: str | None) -> float:
    return math.nan if text is None else sum(text.encode()) % 7 / 2


def labels(frame: pd.DataFrame, classes: Any = (0, 1)) -> np.ndarray:
    """A label of `classes` a row, about as often each."""
    values = target(frame)
    edges = np.quantile(values, np.linspace(0, 1, len(classes) + 1)[1:-1])
    return np.array(classes)[np.digitize(values, edges)]


def signature_of(data: Any) -> Signature:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parse_signature({"signature": infer_signature(data).to_dict()})


def rows_of(frame: pd.DataFrame) -> Rows:
    """Return a frame as checked rows: null is None, values are Python's."""
    columns = {str(n): [None if pd.isna(v) else v for v in column.tolist()] for n, column in frame.items()}
    return Rows(len(frame), columns, [None] * len(frame))


def part(rows: Rows, start: int, stop: int) -> Rows:
    return Rows(stop - start, {n: v[start:stop] for n, v in rows.columns.items()}, rows.entity_keys[start:stop])


def compiled(model: Any, frame: pd.DataFrame, signature: Signature | None = None) -> tuple[Engine | None, Estimator]:
    signature = signature or signature_of(frame)
    own = Estimator(model, signature)
    return compile_fast(model, signature, part(rows_of(frame), 0, 5), own), own


def agree(
    model: Any,
    frame: pd.DataFrame,
    kind: str,
    *,
    fresh: pd.DataFrame | None = None,
    exact: bool = True,
    signature: Signature | None = None,
) -> Engine:
    """Assert that a model is compiled and answers `fresh` rows (default: `frame`) as by its own predict."""
    engine, own = compiled(model, frame, signature)
    assert engine is not None
    assert engine.kind == kind
    rows = rows_of(frame if fresh is None else fresh)
    expected = own.predict(rows)
    tolerance = 0.0 if exact else 1e-9
    for sizes in ([rows.count], [1] * 7, [1, 3, 8, 40]):
        parts, start = [], 0
        for size in sizes:
            parts.append(engine.encode(part(rows, start, start + size)))
            start += size
        scores, wanted = engine.predict(engine.join(parts)), expected.part(0, start)
        assert [type(value) for value in scores.predictions] == [type(value) for value in wanted.predictions]
        if wanted.probabilities is None and type(wanted.predictions[0]) is float:
            assert scores.predictions == pytest.approx(wanted.predictions, rel=tolerance, abs=tolerance)
        else:
            assert scores.predictions == wanted.predictions
        if wanted.probabilities is None:
            assert scores.probabilities is None
        else:
            assert scores.probabilities == pytest.approx(wanted.probabilities, rel=tolerance, abs=tolerance)
    return engine


def refuses_alike(model: Any, frame: pd.DataFrame, record: pd.DataFrame) -> None:
    """Assert that both the compiled engine and the model's own predict fail on a record."""
    engine, own = compiled(model, frame)
    assert engine is not None
    rows = rows_of(record)
    with pytest.raises(PredictionFailed):
        own.predict(rows)
    with pytest.raises(PredictionFailed):
        engine.predict(engine.encode(rows))


def reason(model: Any, frame: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> str:
    """Assert that a model is left to its own predict; return the log line that says why."""
    with caplog.at_level(logging.INFO, logger="serving.fast"):
        engine, _ = compiled(model, frame)
    assert engine is None
    return caplog.messages[-1]
