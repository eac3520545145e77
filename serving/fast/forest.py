"""Trees of scikit-learn's ensembles as arrays, all of one ensemble together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from serving.fast.origins import NotCovered

HISTOGRAM = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
GRADIENT = (GradientBoostingClassifier, GradientBoostingRegressor)
FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
TREES = (DecisionTreeClassifier, DecisionTreeRegressor)


@dataclass(frozen=True)
class Output:
    """One number that an ensemble gives: `base` plus row `values` of the leaves of the trees from `first` to `last`."""

    values: int
    first: int
    last: int
    base: float


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees, one after the other; children are places in the whole.

    A row goes to the left if its feature is at most the threshold, or is NaN and `missing_left`; in a node with a place
    in `left_sets` (not -1), if its category is in that set, or is NaN and `missing_left`.
    """

    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    values: np.ndarray
    """One row for each of the numbers that a leaf holds."""
    roots: np.ndarray
    outputs: tuple[Output, ...]
    divisor: float = 1.0
    category: np.ndarray | None = None
    left_sets: np.ndarray = field(default_factory=lambda: np.empty((0, 256), bool))

    def goes_left(self, node: np.intp, values: np.ndarray) -> np.ndarray:
        """Return which of a feature's values a node sends to the left."""
        unknown = np.isnan(values)
        if self.category is None or self.category[node] < 0:
            return (values <= self.threshold[node]) | (unknown & self.missing_left[node])
        # the model's own encoder numbers the categories from 0 to at most 254, and makes NaN of others
        code = np.where(unknown, 0, values).astype(np.uint8)
        return np.where(unknown, self.missing_left[node], self.left_sets[self.category[node]][code])


def read(model: Any) -> Forest:
    """Read a fitted ensemble.

    Raises:
        NotCovered: it is not one of those above, or one with several outputs.
    """
    if type(model) in HISTOGRAM:
        return _histogram(model)
    if type(model) in GRADIENT:
        return _gradient(model)
    if type(model) in (*FORESTS, *TREES):
        if model.n_outputs_ != 1:
            raise NotCovered("it has several outputs")
        trees = [model.tree_] if type(model) in TREES else [tree.tree_ for tree in model.estimators_]
        width = int(getattr(model, "n_classes_", 1))
        outputs = tuple(Output(number, 0, len(trees), 0.0) for number in range(width))
        values = np.concatenate([tree.value[:, 0, :width] for tree in trees]).T
        return _of_trees(trees, values, outputs, float(len(trees)))
    raise NotCovered(f"{type(model).__name__} is not compiled")


def _gradient(model: Any) -> Forest:
    if not isinstance(model.init_, (str, DummyClassifier, DummyRegressor)):
        raise NotCovered(f"it starts from a {type(model.init_).__name__}")
    trees = [estimator.tree_ for estimator in model.estimators_.T.ravel()]
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))[0]
    values = model.learning_rate * np.concatenate([tree.value[:, 0, 0] for tree in trees])
    return _of_trees(trees, values[None, :], _interleaved(len(trees), base))


def _of_trees(trees: Sequence[Any], values: np.ndarray, outputs: tuple[Output, ...], divisor: float = 1.0) -> Forest:
    starts = _starts([tree.node_count for tree in trees])
    return Forest(
        feature=_joined(tree.feature for tree in trees),
        threshold=_joined(tree.threshold for tree in trees),
        missing_left=_joined(tree.missing_go_to_left for tree in trees).astype(bool),
        left=_joined(tree.children_left + start for tree, start in zip(trees, starts, strict=True)),
        right=_joined(tree.children_right + start for tree, start in zip(trees, starts, strict=True)),
        leaf=_joined(tree.children_left < 0 for tree in trees),
        values=np.ascontiguousarray(values),
        roots=starts,
        outputs=outputs,
        divisor=divisor,
    )


def _histogram(model: Any) -> Forest:
    base = model._baseline_prediction[0]
    predictors = [tree for class_trees in zip(*model._predictors, strict=True) for tree in class_trees]
    nodes = np.concatenate([tree.nodes for tree in predictors])
    lengths = [len(tree.nodes) for tree in predictors]
    starts = _starts(lengths)
    start = np.repeat(starts, lengths)
    sets = [tree.raw_left_cat_bitsets for tree in predictors]
    first_set = np.repeat(_starts([len(found) for found in sets]), lengths)
    return Forest(
        feature=nodes["feature_idx"].astype(np.intp),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        left=nodes["left"].astype(np.intp) + start,
        right=nodes["right"].astype(np.intp) + start,
        leaf=nodes["is_leaf"].astype(bool),
        values=nodes["value"].astype(np.float64)[None, :],
        roots=starts,
        outputs=_interleaved(len(predictors), base),
        category=np.where(nodes["is_categorical"], nodes["bitset_idx"] + first_set, -1),
        left_sets=_bits(np.concatenate(sets)),
    )


def _interleaved(trees: int, base: np.ndarray) -> tuple[Output, ...]:
    """Return the outputs of boosting with one tree an output in each iteration, the trees of an output together."""
    each = trees // len(base)
    return tuple(Output(0, k * each, (k + 1) * each, float(start)) for k, start in enumerate(base))


def _starts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths[:-1], dtype=np.intp)]).astype(np.intp)


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(parts))


def _bits(sets: np.ndarray) -> np.ndarray:
    """Return sets of 256 bits, each 8 words of 32 bits, as booleans."""
    words = np.ascontiguousarray(sets, dtype="<u4")
    return np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").astype(bool).reshape(len(words), 256)
