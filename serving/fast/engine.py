"""A model version computed by compiled code."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from serving.fast.answers import Answer
from serving.fast.cells import Cells
from serving.models.model import PredictionFailed, Scores, checked_scores
from serving.models.signature import Rows


class Raw(Protocol):
    """Computes a model's raw outputs."""

    def raw(self, cells: np.ndarray) -> np.ndarray:
        """Return the outputs of encoded rows: one row an output, one column a row."""

    def landmarks(self) -> list[np.ndarray]:
        """Return for each number those at which the outputs change, or some that are typical."""


class Compiled:
    """See `serving.models.model.Engine`. It keeps no state between calls."""

    def __init__(
        self,
        kind: str,
        cells: Cells,
        compute: Raw,
        answer: Callable[[np.ndarray], Answer],
        finite: tuple[np.ndarray, np.ndarray] | None,
    ) -> None:
        """Put the parts together.

        Args:
            kind: what `/models` calls this way of computing.
            cells: encodes requests.
            compute: from encoded rows to raw outputs.
            answer: from raw outputs to predictions and probabilities.
            finite: least and greatest number of each field that the model does not find infinite; None: any.
        """
        self.kind = kind
        self._cells = cells
        self._compute = compute
        self._answer = answer
        self._finite = finite

    def landmarks(self) -> dict[str, list[Any]]:
        """Return for each field the values at which the answer changes."""
        cells = self._cells
        found: dict[str, list[Any]] = {category.name: list(category.codes) for category in cells.categories}
        for number, values in zip(cells.numbers, self._compute.landmarks(), strict=True):
            found.setdefault(number.name, []).extend(values.tolist())
        return found

    def encode(self, rows: Rows) -> np.ndarray:
        """See `Engine.encode`."""
        return self._cells.encode(rows)

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """See `Engine.join`."""
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def predict(self, encoded: np.ndarray) -> Scores:
        """See `Engine.predict`."""
        self._cells.check(encoded)
        if self._finite is not None:
            numbers, (least, greatest) = encoded[: len(self._cells.numbers)], self._finite
            if ((numbers < least) | (numbers > greatest)).any():
                raise PredictionFailed("it does not take a number that is infinite as a float32")
        return checked_scores(*self._answer(self._compute.raw(encoded)), encoded.shape[1])
