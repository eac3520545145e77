"""Models of any flavor by way of MLflow's `python_function`. Loading one runs code that the artifact brings along."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd

from serving.errors import VersionRefused
from serving.models.model import PredictionFailed, Scores, checked_scores, make_input
from serving.models.signature import Rows, Signature, join_rows


class PyfuncEngine:
    """A `python_function` model. It has predictions and no probabilities."""

    kind = "python_function"
    classes: list[Any] | None = None

    def __init__(self, directory: Path, signature: Signature) -> None:
        """Load the model in `directory`.

        Raises:
            VersionRefused: it cannot be loaded, for example because a package that it needs is not installed.
        """
        try:
            self._model = mlflow.pyfunc.load_model(str(directory))
        except Exception as exc:
            raise VersionRefused(f"its python_function cannot be loaded here: {type(exc).__name__}: {exc}") from exc
        self._signature = signature

    def encode(self, rows: Rows) -> Rows:
        """See `Engine.encode`."""
        return rows

    def join(self, parts: Sequence[Rows]) -> Rows:
        """See `Engine.join`."""
        return join_rows(parts)

    def predict(self, encoded: Rows) -> Scores:
        """See `Engine.predict`."""
        try:
            predicted = _one_a_row(self._model.predict(make_input(self._signature, encoded)))
        except Exception as exc:
            raise PredictionFailed(f"{type(exc).__name__}: {exc}") from exc
        return checked_scores(predicted, None, encoded.count)


def _one_a_row(predicted: Any) -> np.ndarray:
    """Return a model's answer as an array with one item a row: of several columns, an object of column: value."""
    if isinstance(predicted, pd.DataFrame) and predicted.shape[1] != 1:
        rows = np.empty(len(predicted), dtype=object)
        rows[:] = predicted.to_dict("records")
        return rows
    values = np.asarray(predicted)
    return values.ravel() if values.ndim == 2 and values.shape[1] == 1 else values
