"""Finds at which numbers of a field the columns of a model's matrix pass given limits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.fast.origins import Origin
from serving.fast.probe import Probe

_MOST = {
    "double": np.finfo(np.float64).max,
    "float": float(np.finfo(np.float32).max),
    "integer": 2.0**31 - 1,
    "long": np.nextafter(2.0**63, 0),
}
_NEAR = 1 << 33
"""How many float64 on either side of a first guess are tried before all; two float32 are 2 to the 29th apart."""
_HIGHEST_BIT = np.iinfo(np.int64).min


def last_below(limits: Mapping[int, np.ndarray], origins: Sequence[Origin], probe: Probe) -> dict[int, np.ndarray]:
    """Find where columns that do not fall pass their limits.

    Args:
        limits: by column of the model's matrix: numbers, ascending.
        origins: of all columns of the matrix.
        probe: makes the matrix.

    Returns:
        By column, for each limit: the largest number in the field with which the column is not above the limit; -inf
        if there is none, inf if all are.
    """
    found: dict[int, np.ndarray] = {}
    waiting = list(limits)
    while waiting:  # columns of one field take turns
        turn = {origins[column].field: column for column in reversed(waiting)}
        waiting = [column for column in waiting if turn[origins[column].field] != column]
        columns = sorted(turn.values())
        asked = _Asked(
            np.repeat(columns, [len(limits[column]) for column in columns]),
            np.concatenate([limits[column] for column in columns]),
        )
        guess = np.concatenate([_guess(limits[column], origins[column], probe) for column in columns])
        kinds = np.array([probe.fields[origins[column].field].type for column in columns])
        passed = _search(asked, guess, kinds[np.searchsorted(columns, asked.column)], origins, probe)
        found.update({column: passed[asked.column == column] for column in columns})
    return found


@dataclass(frozen=True)
class _Asked:
    """Limits, and their columns, ascending."""

    column: np.ndarray
    limit: np.ndarray

    def below(self, points: np.ndarray, origins: Sequence[Origin], probe: Probe) -> np.ndarray:
        """Return whether each column is not above its limit where its field is at a point."""
        columns, starts = np.unique(self.column, return_index=True)
        parts = np.split(points, starts[1:])
        matrix = probe.run({origins[column].field: part for column, part in zip(columns, parts, strict=True)})
        made = [matrix[: len(part), column] for column, part in zip(columns, parts, strict=True)]
        return np.asarray(np.concatenate(made) <= self.limit)


def _guess(limits: np.ndarray, origin: Origin, probe: Probe) -> np.ndarray:
    """Return what is right for a field that is not changed, and near for one that is scaled."""
    if probe.single or probe.fields[origin.field].type == "float":
        limits = _rounded_below(limits)
    with np.errstate(over="ignore"):
        return limits * origin.scale + origin.shift if origin.affine else limits


def _search(asked: _Asked, guess: np.ndarray, kinds: np.ndarray, origins: Sequence[Origin], probe: Probe) -> np.ndarray:
    most = np.array([_MOST[kind] for kind in kinds.tolist()])
    whole = np.isin(kinds, ("integer", "long"))
    guess = np.clip(guess, -most, most)
    guess = np.where(whole, np.floor(guess), guess)
    with np.errstate(over="ignore"):
        after = np.minimum(np.where(whole, guess + 1, np.nextafter(guess, np.inf)), most)
    right = asked.below(guess, origins, probe) & ~asked.below(after, origins, probe)
    rest = np.flatnonzero(~right)
    if len(rest):
        left = _Asked(asked.column[rest], asked.limit[rest])
        guess[rest] = _bisect(guess[rest], most[rest], lambda points: left.below(points, origins, probe))
    return guess


def _bisect(guess: np.ndarray, most: np.ndarray, below: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    ends = _ordinals(-most), _ordinals(most)
    some, every = below(_numbers(ends[0])), below(_numbers(ends[1]))
    near = _ordinals(guess)
    low, high = np.maximum(near, ends[0] + _NEAR) - _NEAR, np.minimum(near, ends[1] - _NEAR) + _NEAR
    low = np.where(below(_numbers(low)), low, ends[0])
    high = np.where(below(_numbers(high)), ends[1], high)
    while True:
        middle = (low >> 1) + (high >> 1) + (low & high & 1)  # their mean; the sum could be too large
        if (middle == low).all():
            return np.select([~some, every], [-np.inf, np.inf], _numbers(low))
        held = below(_numbers(middle))
        low, high = np.where(held, middle, low), np.where(held, high, middle)


def _rounded_below(limits: np.ndarray) -> np.ndarray:
    """Return the largest float64 that are not above the limits once they are rounded to float32."""
    with np.errstate(over="ignore"):
        least = limits.astype(np.float32)
        least = np.where(least > limits, np.nextafter(least, np.float32(-np.inf)), least)
        middle = (least.astype(np.float64) + np.nextafter(least, np.float32(np.inf))) / 2
        return np.where(middle.astype(np.float32) > limits, np.nextafter(middle, -np.inf), middle)


def _ordinals(numbers: np.ndarray) -> np.ndarray:
    """Return the places of float64 in their order."""
    bits = np.asarray(numbers, np.float64).view(np.int64)
    return np.where(bits >= 0, bits, _HIGHEST_BIT - bits)


def _numbers(ordinals: np.ndarray) -> np.ndarray:
    return np.where(ordinals >= 0, ordinals, _HIGHEST_BIT - ordinals).view(np.float64)
