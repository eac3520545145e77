"""A loaded model version: rows in, scores out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from serving.errors import VersionRefused
from serving.models.signature import Rows, Signature, join_rows


class PredictionFailed(Exception):
    """The model raised or returned something unusable for records that fit its signature."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says, one item a row.

    `probabilities` is None for a model that has none. With two classes it is the probability of the positive class
    (the second of `classes`), with more the probability of the predicted one.
    """

    predictions: list[Any]
    probabilities: list[float] | None

    def part(self, start: int, stop: int) -> "Scores":
        """Return the scores of the rows from `start` to before `stop`."""
        probabilities = self.probabilities
        return Scores(self.predictions[start:stop], None if probabilities is None else probabilities[start:stop])


class Engine(Protocol):
    """How a version computes. Its methods may be called from several threads at once."""

    kind: str
    """`predict` is the model's own way; any other names a compiled one."""

    def encode(self, rows: Rows) -> Any:
        """Turn the checked rows of one request into what the model computes on."""

    def join(self, parts: Sequence[Any]) -> Any:
        """Make one of several encoded requests, in their order."""

    def predict(self, encoded: Any) -> Scores:
        """Compute.

        Raises:
            PredictionFailed: the model raised, or returned NaN, infinity or the wrong number of predictions.
        """


class Estimator:
    """A fitted scikit-learn classifier or regressor, computed by its own `predict`."""

    kind = "predict"

    def __init__(self, estimator: Any, signature: Signature) -> None:
        """Wrap a fitted estimator.

        Raises:
            VersionRefused: it is neither a classifier nor a regressor.
        """
        if not is_classifier(estimator) and not is_regressor(estimator):
            raise VersionRefused(f"{type(estimator).__name__} is neither a classifier nor a regressor")
        self._signature = signature
        self._before, self._final = _split(estimator)
        self.classes: list[Any] | None = np.asarray(estimator.classes_).tolist() if is_classifier(estimator) else None
        self._has_probabilities = self.classes is not None and hasattr(estimator, "predict_proba")

    def encode(self, rows: Rows) -> Rows:
        """See `Engine.encode`: rows stay as they are, since one frame of many is cheaper than many joined."""
        return rows

    def join(self, parts: Sequence[Rows]) -> Rows:
        """See `Engine.join`."""
        return join_rows(parts)

    def predict(self, encoded: Rows) -> Scores:
        """See `Engine.predict`."""
        try:
            features = make_input(self._signature, encoded)
            # Both calls below need what comes before the final estimator; it is computed once.
            if self._before is not None:
                features = self._before.transform(features)
            predicted = np.asarray(self._final.predict(features))
            probabilities = self._probabilities(features) if self._has_probabilities else None
        except Exception as exc:
            raise PredictionFailed(f"{type(exc).__name__}: {exc}") from exc
        return checked_scores(predicted, probabilities, encoded.count)

    def _probabilities(self, features: Any) -> np.ndarray:
        by_class = np.asarray(self._final.predict_proba(features))
        return by_class[:, 1] if by_class.shape[1] == 2 else by_class.max(axis=1)


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A version that passed every check and may answer requests, in the role that an alias gives it."""

    name: str
    version: int
    role: str
    run_id: str
    digest: str
    signature: Signature
    engine: Engine
    classes: list[Any] | None
    entity_key: str | None
    example: Mapping[str, Any]
    """A record that the model was warmed up on."""
    row_seconds: float = 0.0
    """Processor time of a call with one row, as measured at the warm-up."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def score(self, rows: Rows) -> Scores:
        """Predict checked rows, outside of any batch.

        Raises:
            PredictionFailed: the model failed on good rows.
        """
        return self.engine.predict(self.engine.encode(rows))

    def describe(self) -> dict[str, Any]:
        """Return what `/models` says about it."""
        return {
            "version": self.version,
            "role": self.role,
            "run_id": self.run_id,
            "serving_since": self.since.isoformat(),
            "computed_by": self.engine.kind,
            "entity_key": self.entity_key,
            "classes": self.classes,
            "inputs": [
                {"name": field.name, "type": field.type, "required": field.required} for field in self.signature.fields
            ],
            "example": {"records": [self.example]},
        }


def checked_scores(predicted: np.ndarray, probabilities: np.ndarray | None, count: int) -> Scores:
    """Return a model's arrays as scores of `count` rows.

    Raises:
        PredictionFailed: the number is wrong, or one is NaN or infinite.
    """
    if len(predicted) != count:
        raise PredictionFailed(f"it returned {len(predicted)} predictions for {count} rows")
    if not _finite(predicted) or not _finite(probabilities):
        raise PredictionFailed("it returned NaN or infinity")
    return Scores(predicted.tolist(), None if probabilities is None else probabilities.tolist())


def make_input(signature: Signature, rows: Rows) -> Any:
    """Return rows as what the model was trained on: a frame, or a matrix if its signature is a tensor."""
    if signature.tensor is None:
        return make_frame(signature, rows)
    return np.array(list(rows.columns.values()), dtype=signature.tensor).T


def make_frame(signature: Signature, rows: Rows) -> pd.DataFrame:
    """Return rows as the DataFrame that the model was trained on: the signature's columns, order and types.

    An integer column with a null becomes float64 with NaN, a boolean one object with None, as pandas itself does.
    """
    return pd.DataFrame(
        {field.name: _array(field.type, rows.columns[field.name]) for field in signature.fields},
        index=range(rows.count),
        copy=False,
    )


_DTYPES: dict[str, type | str] = {
    "string": object,
    "boolean": np.bool_,
    "integer": np.int32,
    "long": np.int64,
    "float": np.float32,
    "double": np.float64,
    "datetime": "datetime64[ns]",
}
_DTYPES_WITH_NULL = _DTYPES | {"boolean": object, "integer": np.float64, "long": np.float64}


def _array(kind: str, values: list[Any]) -> np.ndarray:
    return np.array(values, dtype=(_DTYPES_WITH_NULL if None in values else _DTYPES)[kind])


def _split(estimator: Any) -> tuple[Any, Any]:
    if isinstance(estimator, Pipeline) and len(estimator.steps) > 1:
        return estimator[:-1], estimator.steps[-1][1]
    return None, estimator


def _finite(values: np.ndarray | None) -> bool:
    return values is None or values.dtype.kind != "f" or bool(np.isfinite(values).all())
