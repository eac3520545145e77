"""The splits of a forest, asked of what a request holds instead of the model's matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.fast.bisection import last_below
from serving.fast.cells import Cells
from serving.fast.forest import Forest
from serving.fast.origins import Origin
from serving.fast.probe import Probe


@dataclass(frozen=True)
class Splits:
    """For each node of a forest (undefined for leaves): which row of the encoded matrix it looks at, and how.

    Of a number: it goes left if it is at most `threshold`, or is NaN and `null_left`. Of a category: what
    `Forest.goes_left` says of its value in the column `position` of the category's table.
    """

    row: np.ndarray
    position: np.ndarray
    threshold: np.ndarray
    null_left: np.ndarray


def split(forest: Forest, cells: Cells, origins: Sequence[Origin], probe: Probe) -> Splits:
    """Take the model's own preprocessing into the splits: a threshold becomes the last number that stays below it."""
    rows = np.zeros(len(origins), np.intp)
    positions = np.zeros(len(origins), np.intp)
    made = [cell.columns for cell in cells.numbers] + [cell.columns for cell in cells.categories]
    for row, columns in enumerate(made):
        rows[list(columns)] = row
        positions[list(columns)] = range(len(columns))
    threshold, null_left = forest.threshold.copy(), np.zeros(len(forest.threshold), bool)
    inner = np.flatnonzero(~forest.leaf)
    order = inner[np.argsort(forest.feature[inner], kind="stable")]
    features, starts = np.unique(forest.feature[order], return_index=True)
    nodes = dict(zip(features.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}
    nodes = {feature: found for feature, found in nodes.items() if not origins[feature].coded}
    limits = {feature: np.unique(forest.threshold[found]) for feature, found in nodes.items()}
    passed = last_below(limits, origins, probe)
    for feature, found in nodes.items():
        before = forest.threshold[found]
        threshold[found] = passed[feature][np.searchsorted(limits[feature], before)]
        null = cells.numbers[rows[feature]].null
        if null is not None and len(null):
            filled = null[positions[feature]]
            null_left[found] = forest.missing_left[found] if np.isnan(filled) else filled <= before
    return Splits(rows[forest.feature], positions[forest.feature], threshold, null_left)


def finite_range(cells: Cells, origins: Sequence[Origin], probe: Probe) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest number of each field that are finite as what a model takes as float32."""
    ends = np.array([-np.inf, np.finfo(np.float32).max])
    passed = last_below({column: ends for number in cells.numbers for column in number.columns}, origins, probe)
    low = [max(np.nextafter(passed[column][0], np.inf) for column in number.columns) for number in cells.numbers]
    high = [min(passed[column][1] for column in number.columns) for number in cells.numbers]
    return np.array(low).reshape(-1, 1), np.array(high).reshape(-1, 1)
