"""How far columns moved, from counts alone; and what chance explains at that many rows and columns.

If nothing moved, PSI and eight times the Jensen-Shannon divergence, each divided by 1/n + 1/m, follow a chi-square
distribution with as many degrees of freedom as there are bins, less one (Yurdakul and Naranjo, "Statistical properties
of the population stability index", 2020; the same expansion holds for every f-divergence, Pardo, "Statistical Inference
Based on Divergence Measures", 2006). A fixed threshold is therefore passed by chance when rows are few, and never when
they are many; here it is raised to the quantile that all columns together pass with the declared probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from pipelines.monitoring.baseline import Column
from pipelines.monitoring.sketch import Counts, Sketch
from pipelines.project import Drift, DriftMethod, FeatureType

SPARSE_ROWS, SPARSE_SHARE = 5, 0.05
"""Bins with less of both are counted together: the distribution does not hold there."""
SMOOTHING = 0.5
"""Added to each count, so that an empty bin has a logarithm."""
CATEGORICAL: frozenset[FeatureType] = frozenset({"category", "boolean"})

Shares = NDArray[np.float64]


class Distance(NamedTuple):
    """How far apart two columns are, and how far chance alone puts them."""

    value: float
    chance: float


@dataclass(frozen=True)
class ColumnDrift:
    """One column of the window against the training rows; shares are of the window's rows."""

    column: str
    score: float
    threshold: float
    missing_share: float
    outside_share: float
    """Numbers out of the range of the training rows, categories that those do not have."""
    mistyped: int
    unseen: list[str]

    @property
    def drifted(self) -> bool:
        """Whether it moved further than is allowed, and than chance explains."""
        return self.score > self.threshold


@dataclass(frozen=True)
class DriftResult:
    """The drift of all columns."""

    columns: tuple[ColumnDrift, ...]

    @property
    def drifted(self) -> list[str]:
        """The columns that drifted, in declared order."""
        return [item.column for item in self.columns if item.drifted]

    @property
    def share(self) -> float:
        """The share of columns that drifted."""
        return len(self.drifted) / len(self.columns)


def compare(baseline: Mapping[str, Column], window: Mapping[str, Sketch], rules: Drift) -> DriftResult:
    """Compare the sketch of each column of `baseline` in the `window`, of at least one row, with its training rows."""
    alarms = rules.false_alarms / len(baseline)
    found = []
    for name, column in baseline.items():
        test = rules.category if column.type in CATEGORICAL else rules.number
        seen = window[name]
        apart = distance(test.method, np.asarray(column.sketch.counts), np.asarray(seen.counts), alarms)
        found.append(
            ColumnDrift(
                column=name,
                score=apart.value,
                threshold=max(test.threshold, apart.chance),
                missing_share=seen.missing / seen.rows,
                outside_share=seen.outside / seen.rows,
                mistyped=seen.mistyped,
                unseen=list(seen.unseen),
            )
        )
    return DriftResult(tuple(found))


def distance(method: DriftMethod, before: Counts, now: Counts, alarms: float) -> Distance:
    """PSI, or the Jensen-Shannon distance (natural logarithm), of two columns' counts in the same bins.

    `chance` is what it exceeds with the probability `alarms` if both are of the same distribution.
    """
    before, now = _pooled(before, now)
    p, q = _shares(before), _shares(now)
    scale = chi2.isf(alarms, max(len(p) - 1, 1)) * (1 / max(before.sum(), 1) + 1 / max(now.sum(), 1))
    if method == "psi":
        return Distance(float(((q - p) * np.log(q / p)).sum()), float(scale))
    middle = (p + q) / 2
    divergence = ((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum()) / 2
    return Distance(float(np.sqrt(max(divergence, 0.0))), float(np.sqrt(scale / 8)))


def _pooled(before: Counts, now: Counts) -> tuple[Counts, Counts]:
    """The counts, those of all sparse bins added up to one, and bins that are empty on both sides left out."""
    share = before / max(before.sum(), 1)
    sparse = (share * min(now.sum(), before.sum()) < SPARSE_ROWS) & (share < SPARSE_SHARE)
    sides = [np.append(side[~sparse], side[sparse].sum()) for side in (before, now)]
    used = (sides[0] + sides[1]) > 0
    return sides[0][used], sides[1][used]


def _shares(counts: Counts) -> Shares:
    smoothed = counts + SMOOTHING
    shares: Shares = smoothed / smoothed.sum()
    return shares
