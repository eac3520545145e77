"""A loaded model version: records in, predictions out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from serving.errors import VersionRefused
from serving.models.signature import Rows, Signature


class PredictionFailed(Exception):
    """The model raised or returned something unusable for records that fit its signature."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model says about `rows`, item by item.

    `probabilities` is None for a model that has none. With two classes it is the probability of the positive class
    (the second of `classes`), with more the probability of the predicted one.
    """

    rows: Rows
    predictions: list[Any]
    probabilities: list[float] | None


class Estimator:
    """A fitted scikit-learn classifier or regressor behind one call."""

    def __init__(self, estimator: Any, signature: Signature) -> None:
        """Wrap a fitted estimator.

        Raises:
            VersionRefused: it is neither a classifier nor a regressor.
        """
        if not is_classifier(estimator) and not is_regressor(estimator):
            raise VersionRefused(f"{type(estimator).__name__} is neither a classifier nor a regressor")
        self._signature = signature
        self._whole = estimator
        self._before, self._final = _split(estimator)
        self.classes: list[Any] | None = np.asarray(estimator.classes_).tolist() if is_classifier(estimator) else None
        self._has_probabilities = self.classes is not None and hasattr(estimator, "predict_proba")

    def predict(self, rows: Rows) -> Outcome:
        """Predict checked rows.

        Raises:
            PredictionFailed: the estimator raised, or returned NaN, infinity or the wrong number of predictions.
        """
        try:
            features = make_frame(self._signature, rows)
            # Both calls below need what comes before the final estimator; it is computed once.
            if self._before is not None:
                features = self._before.transform(features)
            predicted = np.asarray(self._final.predict(features))
            probabilities = self._probabilities(features) if self._has_probabilities else None
        except Exception as exc:
            raise PredictionFailed(f"{type(exc).__name__}: {exc}") from exc
        if len(predicted) != rows.count:
            raise PredictionFailed(f"it returned {len(predicted)} predictions for {rows.count} rows")
        if not _finite(predicted) or not _finite(probabilities):
            raise PredictionFailed("it returned NaN or infinity")
        return Outcome(rows, predicted.tolist(), None if probabilities is None else probabilities.tolist())

    def _probabilities(self, features: Any) -> np.ndarray:
        by_class = np.asarray(self._final.predict_proba(features))
        return by_class[:, 1] if by_class.shape[1] == 2 else by_class.max(axis=1)


@dataclass(frozen=True)
class ServedModel:
    """A version that passed every check and may answer requests."""

    name: str
    version: int
    alias: str
    run_id: str
    digest: str
    signature: Signature
    estimator: Estimator
    entity_key: str | None
    example: Mapping[str, Any]
    """A record that the model was warmed up on."""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    def score(self, records: list[Any]) -> Outcome:
        """Check records and predict them.

        Raises:
            RequestError: a record does not fit the signature.
            PredictionFailed: the model failed on good records.
        """
        return self.estimator.predict(self.signature.check(records, self.entity_key))

    def describe(self) -> dict[str, Any]:
        """Return what `/models` says about it."""
        return {
            "name": self.name,
            "version": self.version,
            "alias": self.alias,
            "run_id": self.run_id,
            "serving_since": self.since.isoformat(),
            "entity_key": self.entity_key,
            "classes": self.estimator.classes,
            "inputs": [
                {"name": field.name, "type": field.type, "required": field.required} for field in self.signature.fields
            ],
            "example": {"records": [self.example]},
        }


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
