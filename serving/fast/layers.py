"""Linear models and multi-layer perceptrons: a few matrix products on the encoded rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.neural_network._base import ACTIVATIONS

from serving.fast.cells import Cells
from serving.fast.origins import NotCovered, Origin
from serving.models.model import PredictionFailed
from serving.models.signature import Field

Activation = Callable[[np.ndarray], Any]


class Layers:
    """The weighted sums of a model, with its scalers and encoders taken into the first weights.

    A category adds a row of a table; a number is scaled as by the model's own steps, so that its digits last as long.
    """

    def __init__(self, model: Any, origins: Sequence[Origin], cells: Cells, fields: Sequence[Field]) -> None:
        """Take the weights.

        Raises:
            NotCovered: a step before the model does something else to a number than scale it.
        """
        weights, self._bias, self._rest = _weights(model)
        self.outputs = len(self._rest[-1][1] if self._rest else self._bias)
        self._numbers = len(cells.numbers)
        columns = [(row, column) for row, number in enumerate(cells.numbers) for column in number.columns]
        chosen = [origins[column] for _, column in columns]
        if not all(origin.affine for origin in chosen):
            raise NotCovered("a number is not scaled linearly")
        self._rows = np.array([row for row, _ in columns], dtype=np.intp)
        self._shift = np.array([[origin.shift] for origin in chosen]).reshape(-1, 1)
        self._scale = np.array([[origin.scale] for origin in chosen]).reshape(-1, 1)
        self._weights = weights[[column for _, column in columns]].T
        kinds = {field.name: field.type for field in fields}
        self._rounded = [row for row, number in enumerate(cells.numbers) if kinds[number.name] == "float"]
        nulls = [value for number in cells.numbers for value in _null(number.null, len(number.columns))]
        self._null = np.array(nulls).reshape(-1, 1) if not np.isnan(nulls).all() else None
        self._tables = [category.table @ weights[list(category.columns)] for category in cells.categories]

    def raw(self, cells: np.ndarray) -> np.ndarray:
        """Return the outputs of encoded rows: one row an output, one column a row.

        Raises:
            PredictionFailed: a number is missing, or too large to be scaled.
        """
        numbers = cells[: self._numbers]
        if self._rounded:
            numbers = numbers.copy()
            numbers[self._rounded] = numbers[self._rounded].astype(np.float32)
        scaled = (numbers[self._rows] - self._shift) / self._scale
        if self._null is not None:
            scaled = np.where(np.isnan(scaled), self._null, scaled)
        if not np.isfinite(scaled).all():
            raise PredictionFailed("it does not take a missing or infinite value")
        sums = self._weights @ scaled + self._bias
        for table, codes in zip(self._tables, cells[self._numbers :], strict=True):
            sums += table[codes.astype(np.intp)].T
        for activation, weights, shift in self._rest:
            hidden = sums.T
            activation(hidden)
            sums = weights @ hidden.T + shift
        return sums

    def landmarks(self) -> list[np.ndarray]:
        """Return numbers that are usual for each: around what is subtracted, in steps of what it is divided by."""
        steps = np.linspace(-2.0, 2.0, 9)
        usual = self._shift + self._scale * steps
        return [usual[self._rows == row].ravel() for row in range(self._numbers)]


def _weights(model: Any) -> tuple[np.ndarray, np.ndarray, list[tuple[Activation, np.ndarray, np.ndarray]]]:
    """Return the weights of the first layer (inputs × outputs), what is added, and the layers that follow."""
    if isinstance(model, (MLPClassifier, MLPRegressor)):
        hidden = ACTIVATIONS[model.activation]
        later = zip(model.coefs_[1:], model.intercepts_[1:], strict=True)
        rest = [(hidden, weights.T, shift[:, None]) for weights, shift in later]
        return model.coefs_[0], model.intercepts_[0][:, None], rest
    weights = np.atleast_2d(model.coef_).T
    return weights, np.broadcast_to(np.asarray(model.intercept_, float), weights.shape[1:])[:, None], []


def _null(null: np.ndarray | None, columns: int) -> np.ndarray:
    return np.full(columns, np.nan) if null is None or not len(null) else null
