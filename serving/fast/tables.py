"""Trees computed by tables: no walk through nodes, a few numpy operations on all trees and rows at once.

After Lucchese et al., "QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees"
(SIGIR 2015). A tree is a word with a bit for each of its leaves, from left to right. A node whose answer is "left"
rules out the leaves on its right, and the other way round; of the leaves that no node rules out, the first is the one
that the row falls into. All that a number can rule out is known beforehand, since it depends on the thresholds it lies
between: a table has a row of words, one word a tree, for each interval of each field (and each category, and null).
So a request's row is: find the intervals, AND their rows, look up the leaf of each word's lowest bit, and add up.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import isnan

import numpy as np

from serving.fast.cells import Cells
from serving.fast.forest import Forest
from serving.fast.splits import Splits
from serving.fast.words import Words, layout

MAX_BYTES = 32 << 20
"""Largest table; beyond it, trees are walked through (see `serving.fast.walk`)."""
_BLOCK_BYTES = 1 << 19
"""What is gathered of the table at a time: as much as stays in a processor's cache."""
_FEW = 6
"""Rows of a request up to which bisecting in Python is cheaper than one numpy call a field."""


class Tables:
    """A forest as tables. Sums are in the order of the trees, so they are the model's own to the last bit."""

    def __init__(self, forest: Forest, splits: Splits, cells: Cells) -> None:
        """Build the tables; see `tables` for a check of their size."""
        words = Words(forest)
        self._thresholds = _thresholds(forest, splits, cells)
        sizes = _sizes(self._thresholds, cells)
        starts = np.cumsum([0, *sizes])
        self._starts = starts[:-1, None]
        self._table = np.full((starts[-1], words.count), np.iinfo(words.dtype).max, words.dtype)
        for row, (start, size) in enumerate(zip(starts, sizes, strict=False)):
            nodes, part = np.flatnonzero(~forest.leaf & (splits.row == row)), self._table[start : start + size]
            if row < len(self._thresholds):
                _fill_number(part, nodes, splits, self._thresholds[row], words)
            else:
                held = cells.categories[row - len(self._thresholds)].table
                _fill_category(part, [forest.goes_left(n, held[:, splits.position[n]]) for n in nodes], nodes, words)
        numbers = len(self._thresholds)
        self._bisected = list(zip(starts.tolist(), [found.tolist() for found in self._thresholds], strict=False))
        self._coded = starts[numbers:-1].tolist()
        self._leaves, self._offsets, self._one = words.leaves, words.offsets, words.dtype.type(1)
        self._outputs = [(o.values, words.firsts[o.first], words.firsts[o.last], o.base) for o in forest.outputs]
        self._divisor = forest.divisor
        self._block = max(1, _BLOCK_BYTES // max(1, len(sizes) * words.count * words.dtype.itemsize))

    def raw(self, cells: np.ndarray) -> np.ndarray:
        """Return the outputs of encoded rows: one row an output, one column a row."""
        places = self._places(cells)
        if places.shape[1] <= self._block:
            return self._sums(places)
        starts = range(0, places.shape[1], self._block)
        return np.concatenate([self._sums(places[:, start : start + self._block]) for start in starts], axis=1)

    def landmarks(self) -> list[np.ndarray]:
        """Return the thresholds of each number."""
        return self._thresholds

    def _places(self, cells: np.ndarray) -> np.ndarray:
        """Return the row of the table for each cell."""
        numbers = len(self._thresholds)
        if cells.shape[1] <= _FEW:
            lists = cells.tolist()
            found = [
                [start + (len(thresholds) + 1 if isnan(x) else bisect_left(thresholds, x)) for x in row]
                for (start, thresholds), row in zip(self._bisected, lists, strict=False)
            ]
            found += [
                [start + int(code) for code in row] for start, row in zip(self._coded, lists[numbers:], strict=True)
            ]
            return np.array(found, dtype=np.intp).reshape(cells.shape)
        places = np.empty(cells.shape, np.intp)
        for row, thresholds in enumerate(self._thresholds):
            places[row] = thresholds.searchsorted(cells[row])  # NaN comes after all numbers, its row one further
        places[:numbers] += np.isnan(cells[:numbers])
        places[numbers:] = cells[numbers:]
        places += self._starts
        return places

    def _sums(self, places: np.ndarray) -> np.ndarray:
        possible = np.bitwise_and.reduce(self._table.take(places, axis=0), axis=0)
        up_to_lowest = possible - self._one
        up_to_lowest ^= possible
        leaves = np.bitwise_count(up_to_lowest) + self._offsets
        single = len(leaves) == 1
        sums = np.empty((len(self._outputs), len(leaves)))
        held = -1
        for output, (values, first, last, base) in enumerate(self._outputs):
            if values != held:
                held, numbers = values, self._leaves[values].take(leaves).T
                numbers = numbers if single else np.ascontiguousarray(numbers)
            numbers[first] += base
            # each way adds from the first tree to the last; `sum` of a single row would add in pairs
            sums[output] = np.add.accumulate(numbers[first:last, 0])[-1] if single else numbers[first:last].sum(axis=0)
        if self._divisor != 1.0:
            sums /= self._divisor
        return sums


def tables(forest: Forest, splits: Splits, cells: Cells) -> Tables | None:
    """Return a forest as tables; None if they would be larger than `MAX_BYTES`."""
    dtype, words = layout(forest)
    rows = sum(_sizes(_thresholds(forest, splits, cells), cells))
    return Tables(forest, splits, cells) if rows * int(words.sum()) * dtype.itemsize <= MAX_BYTES else None


def _thresholds(forest: Forest, splits: Splits, cells: Cells) -> list[np.ndarray]:
    """Return the thresholds of each number, ascending."""
    inner = np.flatnonzero(~forest.leaf)
    return [np.unique(splits.threshold[inner[splits.row[inner] == row]]) for row in range(len(cells.numbers))]


def _sizes(thresholds: list[np.ndarray], cells: Cells) -> list[int]:
    """Return the rows of the table of each field: the intervals between thresholds and null, or the categories."""
    return [len(found) + 2 for found in thresholds] + [len(category.table) for category in cells.categories]


def _fill_number(part: np.ndarray, nodes: np.ndarray, splits: Splits, thresholds: np.ndarray, words: Words) -> None:
    place, word, on_left, on_right = words.below(nodes)
    last_left = thresholds.searchsorted(splits.threshold[nodes])[place]
    np.bitwise_and.at(part, (last_left, word), ~on_right)
    upwards = part[-2::-1]  # all but null, from the highest interval
    np.bitwise_and.accumulate(upwards, axis=0, out=upwards)
    above = np.full_like(part[:-1], np.iinfo(part.dtype).max)
    np.bitwise_and.at(above, (last_left + 1, word), ~on_left)
    part[:-1] &= np.bitwise_and.accumulate(above, axis=0)
    np.bitwise_and.at(part[-1], word, np.where(splits.null_left[nodes][place], ~on_right, ~on_left))


def _fill_category(part: np.ndarray, left: Sequence[np.ndarray], nodes: np.ndarray, words: Words) -> None:
    for place, word, on_left, on_right in zip(*words.below(nodes), strict=True):
        part[:, word] &= np.where(left[place], ~on_right, ~on_left)
