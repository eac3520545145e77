"""Forests too large for tables: all trees of all rows are walked through side by side, a level at a time."""

import numpy as np

from serving.fast.cells import Cells
from serving.fast.forest import Forest
from serving.fast.origins import NotCovered
from serving.fast.splits import Splits

MAX_NODES = 4_000_000
"""Each costs 24 bytes of memory and 8 for each output."""
_BLOCK = 1 << 14
"""Walks at a time: what stays in a processor's cache."""
_PRUNE_EVERY = 4
"""Levels after which the walks that have arrived are put aside."""


class Walk:
    """A forest as arrays of nodes. Sums are in the order of the trees, so they are the model's own to the last bit.

    A row's features are its numbers, what the tables of its categories hold, and the negatives of both. A node that
    sends NaN to the left asks whether the negative is below the negative threshold, with its children exchanged: NaN,
    which is below nothing, so goes to the right everywhere.
    """

    def __init__(self, forest: Forest, splits: Splits, cells: Cells) -> None:
        """Lay out the nodes.

        Raises:
            NotCovered: there are too many, or some that split by sets of categories.
        """
        if len(forest.leaf) > MAX_NODES:
            raise NotCovered(f"it has {len(forest.leaf)} nodes, more than {MAX_NODES}")
        if forest.category is not None and (forest.category >= 0).any():
            raise NotCovered("it is too large for tables, and splits by sets of categories")
        self._numbers = len(cells.numbers)
        self._tables = [category.table for category in cells.categories]
        widths = [1] * self._numbers + [table.shape[1] for table in self._tables]
        self._width = sum(widths)
        coded = splits.row >= self._numbers
        turned = np.where(coded, forest.missing_left, splits.null_left)
        feature = np.cumsum([0, *widths])[splits.row] + np.where(coded, splits.position, 0) + turned * self._width
        here = np.arange(len(forest.leaf))
        left = np.where(forest.leaf, here, np.where(turned, forest.right, forest.left))
        right = np.where(forest.leaf, here, np.where(turned, forest.left, forest.right))
        self._feature = np.where(forest.leaf, 0, feature).astype(np.int32)
        inner = np.flatnonzero(~forest.leaf)
        of_row = [inner[splits.row[inner] == row] for row in range(self._numbers)]
        self._landmarks = [np.unique(splits.threshold[nodes])[:: 1 + len(nodes) // 500] for nodes in of_row]
        self._threshold = np.where(turned, -np.nextafter(splits.threshold, np.inf), splits.threshold)
        self._children = np.stack([right, left], axis=1).astype(np.int32).ravel()
        self._leaf = forest.leaf
        self._roots = forest.roots.astype(np.int32)
        self._values, self._outputs, self._divisor = forest.values, forest.outputs, forest.divisor
        self._block = max(1, _BLOCK // len(self._roots))

    def raw(self, cells: np.ndarray) -> np.ndarray:
        """Return the outputs of encoded rows: one row an output, one column a row."""
        sums = np.empty((len(self._outputs), cells.shape[1]))
        for start in range(0, cells.shape[1], self._block):
            block = cells[:, start : start + self._block]
            self._add(self._leaves(self._features(block)), sums[:, start : start + self._block])
        if self._divisor != 1.0:
            sums /= self._divisor
        return sums

    def landmarks(self) -> list[np.ndarray]:
        """Return some of the thresholds of each number."""
        return self._landmarks

    def _features(self, cells: np.ndarray) -> np.ndarray:
        codes = cells[self._numbers :].astype(np.intp)
        columns = [cells[: self._numbers].T, *(table[code] for table, code in zip(self._tables, codes, strict=True))]
        features = np.concatenate(columns, axis=1)
        return np.concatenate([features, -features], axis=1)

    def _leaves(self, features: np.ndarray) -> np.ndarray:
        """Return the node in which each row (rows of the result) ends in each tree (columns)."""
        rows, width = features.shape
        flat = features.ravel()
        ends = np.tile(self._roots, rows)
        walks: np.ndarray | slice = slice(None)
        node, start = ends, np.repeat(np.arange(0, rows * width, width), len(self._roots))
        while True:
            for _ in range(_PRUNE_EVERY):
                below = flat.take(self._feature.take(node) + start) <= self._threshold.take(node)
                node = self._children.take(2 * node + below)
            ends[walks] = node
            on_the_way = np.flatnonzero(~self._leaf.take(node))
            if not len(on_the_way):
                return ends.reshape(rows, -1)
            walks = on_the_way if isinstance(walks, slice) else walks[on_the_way]
            node, start = node[on_the_way], start[on_the_way]

    def _add(self, leaves: np.ndarray, sums: np.ndarray) -> None:
        for output, sum_ in zip(self._outputs, sums, strict=True):
            values = self._values[output.values].take(leaves[:, output.first : output.last])
            values[:, 0] += output.base
            sum_[:] = np.add.accumulate(values, axis=1)[:, -1]
