"""Figures of a candidate against its champion, each with the bound that it exceeds beyond doubt. Pure.

A release is looked at many times, and each look may be misled by chance: so bounds are one-sided and wide (99.5 %).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from pipelines.monitoring.drift import distance
from pipelines.monitoring.sketch import Counts
from pipelines.release.plan import Estimate

DOUBT = 0.005
"""How often, at most, chance alone puts a bound above the truth, in one look."""
MEAN_ROWS = 30
"""From this many rows on the mean of a sample is taken as normally distributed."""
_Z = float(norm.isf(DOUBT))

Array = NDArray[np.float64]


def rate_difference(failed: int, tried: int, champion_failed: int, champion_tried: int) -> Estimate:
    """How much more often the candidate fails than the champion, as a difference of shares.

    The bound is Newcombe's hybrid score interval ("Interval estimation for the difference between independent
    proportions", 1998, method 10). A champion that was not asked is taken to fail never.
    """
    if not tried:
        return Estimate(0.0, None, 0)
    share, low, _ = _wilson(failed, tried)
    other, _, high = _wilson(champion_failed, champion_tried) if champion_tried else (0.0, 0.0, 0.0)
    value = share - other
    return Estimate(value, value - float(np.hypot(share - low, high - other)), tried)


def median_ratio(times: Array, champion: Array) -> Estimate:
    """The median of `times` divided by that of `champion`, both shape (n,) and above 0.

    The bound divides the order statistics that hold each median (a distribution-free interval, by the binomial
    distribution); with fewer than eight values on a side there is none.
    """
    if not len(times) or not len(champion):
        return Estimate(1.0, None, 0)
    value = float(np.median(times) / np.median(champion))
    rank, other = _median_rank(len(times)), _median_rank(len(champion))
    if rank is None or other is None:
        return Estimate(value, None, len(times))
    low = np.sort(times)[rank] / np.sort(champion)[len(champion) - 1 - other]
    return Estimate(value, float(low), len(times))


def mean_distance(answers: Array, champion: Array, scale: float) -> Estimate:
    """The mean distance of two models' answers for the same rows, both shape (n,), in units of `scale`."""
    rows = len(answers)
    if not rows or scale <= 0:
        return Estimate(0.0, None, rows)
    apart = np.abs(answers - champion) / scale
    value = float(apart.mean())
    if rows < MEAN_ROWS:
        return Estimate(value, None, rows)
    return Estimate(value, value - _Z * float(apart.std(ddof=1)) / rows**0.5, rows)


def output_drift(before: Counts, now: Counts) -> Estimate:
    """The PSI of answers counted in the same bins; the bound leaves out what chance explains at this many rows."""
    rows = int(now.sum())
    if not rows or not before.sum():
        return Estimate(0.0, None, rows)
    value, chance = distance("psi", before, now, DOUBT)
    return Estimate(value, value - chance, rows)


def _wilson(hits: int, of: int) -> tuple[float, float, float]:
    """(share, low, high) by Wilson's score interval (1927)."""
    share = hits / of
    centre = share + _Z**2 / (2 * of)
    width = _Z * (share * (1 - share) / of + _Z**2 / (4 * of**2)) ** 0.5
    scale = 1 + _Z**2 / of
    return share, max((centre - width) / scale, 0.0), min((centre + width) / scale, 1.0)


def _median_rank(count: int) -> int | None:
    """The rank (from 0) of the order statistic that is below the median of the population beyond doubt."""
    below = int(binom.ppf(DOUBT, count, 0.5)) - 1
    return below if below >= 0 else None
