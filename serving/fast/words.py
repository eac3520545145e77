"""The leaves of trees as bits of words."""

import numpy as np

from serving.fast.forest import Forest

_SHARED = 63
"""Leaves in a word of a tree that has more than 64: the highest bit is always set, for rows that fall into no leaf of
this word, and stands for nothing to add."""
_LOW_BITS = np.array([(1 << count) - 1 for count in range(65)], dtype=np.uint64)


class Words:
    """Numbers the leaves of each tree from left to right, and gives each a bit.

    `leaves` has, for each word and each place of its lowest set bit, what the leaf holds: at `offsets` of the word plus
    the number of bits up to and with that one. `firsts` is the first word of each tree, and the number of all at last.
    """

    def __init__(self, forest: Forest) -> None:
        """Go through the trees level by level, all at once."""
        self._right = forest.right
        self._begin, self._leaves_below, self._tree = _number(forest)
        self.dtype, self._words = layout(forest)
        self.firsts = np.concatenate([[0], np.cumsum(self._words)]).astype(np.intp)
        self.count = int(self.firsts[-1])
        slots = self.dtype.itemsize * 8 + 1
        self.offsets = np.arange(self.count, dtype=np.intp) * slots
        self.leaves = np.zeros((len(forest.values), self.count * slots))
        found = np.flatnonzero(forest.leaf)
        nth = np.where(self._words[self._tree[found]] > 1, self._begin[found] // _SHARED, 0)
        bit = self._begin[found] - nth * _SHARED
        self.leaves[:, self.offsets[self.firsts[self._tree[found]] + nth] + bit + 1] = forest.values[:, found]

    def below(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return which bits are below nodes.

        Returns:
            For each pair of a node and a word of its tree that has leaves below it: the node's place in `nodes`, the
            word, and the bits on the node's left and on its right.
        """
        words = self._words[self._tree[nodes]]
        place = np.repeat(np.arange(len(nodes)), words)
        nth = np.arange(len(place)) - np.repeat(np.cumsum(words) - words, words)
        node = nodes[place]
        most = np.where(self._words[self._tree[node]] > 1, _SHARED, 64)
        shift = nth * _SHARED

        def low(leaf: np.ndarray) -> np.ndarray:
            return _LOW_BITS[np.clip(leaf - shift, 0, most)]

        begin, middle = low(self._begin[node]), low(self._begin[self._right[node]])
        end = low(self._begin[node] + self._leaves_below[node])
        used = begin != end
        left, right = (middle ^ begin)[used].astype(self.dtype), (end ^ middle)[used].astype(self.dtype)
        return place[used], (self.firsts[self._tree[node]] + nth)[used], left, right


def layout(forest: Forest) -> tuple[np.dtype, np.ndarray]:
    """Return the type of the words, and how many each tree has."""
    leaves = np.add.reduceat(forest.leaf, forest.roots, dtype=np.intp)
    bits = next(bits for bits in (8, 16, 32, 64) if bits >= min(leaves.max(), 64))
    return np.dtype(f"u{bits // 8}"), np.where(leaves <= 64, 1, -(-leaves // _SHARED))


def _number(forest: Forest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each node its first leaf, the number of leaves below it, and its tree."""
    levels, here = [], forest.roots
    while len(here):
        inner = here[~forest.leaf[here]]
        levels.append(inner)
        here = np.concatenate([forest.left[inner], forest.right[inner]])
    leaves = forest.leaf.astype(np.intp)
    for inner in reversed(levels):
        leaves[inner] = leaves[forest.left[inner]] + leaves[forest.right[inner]]
    begin, tree = np.zeros(len(leaves), np.intp), np.zeros(len(leaves), np.intp)
    tree[forest.roots] = np.arange(len(forest.roots))
    for inner in levels:
        left, right = forest.left[inner], forest.right[inner]
        begin[left] = begin[inner]
        begin[right] = begin[inner] + leaves[left]
        tree[left] = tree[right] = tree[inner]
    return begin, leaves, tree
