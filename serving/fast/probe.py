"""Runs a model's own preprocessing on made-up rows, to learn what it does to each field."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from scipy.sparse import issparse

from serving.fast.origins import NotCovered
from serving.models.signature import Rows, Signature

MAX_CELLS = 1 << 24
"""Largest matrix that is asked for; it takes 128 MiB, and as much again on its way."""
_BASES: Mapping[str, Any] = {"string": "", "boolean": False, "datetime": datetime(2000, 1, 1), "integer": 0, "long": 0}


class Probe:
    """The matrix that a model's own preprocessing makes of made-up rows, in which few fields differ from a base."""

    def __init__(
        self, signature: Signature, prepare: Callable[[Rows], Any], categories: Mapping[int, Any], single: bool
    ) -> None:
        """Run the base.

        Args:
            signature: of the model.
            prepare: makes the matrix of rows, dense or sparse.
            categories: those known of each field.
            single: the model takes the matrix as float32.
        """
        self.fields = signature.fields
        self._prepare = prepare
        self.single = single
        self._bases = [
            categories[number][0] if categories.get(number) else _BASES.get(field.type, 0.0)
            for number, field in enumerate(signature.fields)
        ]
        base = prepare(self._rows({}))
        self.sparse = issparse(base)
        self._width = base.shape[1]

    def run(self, values: Mapping[int, Sequence[Any] | np.ndarray]) -> np.ndarray:
        """Return the matrix of as many rows as the longest of `values`, which are by field; shorter ones are filled.

        Raises:
            NotCovered: the matrix would be too large.
            Exception: what the model's own steps raise.
        """
        if max([1, *map(len, values.values())]) * self._width > MAX_CELLS:
            raise NotCovered("it has too many categories or thresholds for so many columns")
        with np.errstate(all="ignore"):
            matrix = self._prepare(self._rows(values))
            dense = matrix.toarray() if issparse(matrix) else np.asarray(matrix)
            return dense.astype(np.float32 if self.single else np.float64).astype(np.float64)

    def _rows(self, values: Mapping[int, Sequence[Any] | np.ndarray]) -> Rows:
        count = max([1, *map(len, values.values())])
        columns: dict[str, Any] = {}
        for number, (field, base) in enumerate(zip(self.fields, self._bases, strict=True)):
            column = values.get(number, ())
            fill = [base] * (count - len(column))
            columns[field.name] = np.append(column, fill) if isinstance(column, np.ndarray) else [*column, *fill]
        return Rows(count, columns, [None] * count)
