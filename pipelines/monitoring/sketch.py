"""A column as counts in bins that its training rows gave: a few kilobytes, made batch by batch in flat memory.

Two sketches with the same bins add up to the sketch of all their rows, so a window is the sum of its parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipelines.project import FeatureType

NUMBER_BINS = 10
TOP_CATEGORIES = 30
KNOWN_CATEGORIES = 5000
NAMED_UNSEEN = 10

Array = NDArray[np.float64]
Counts = NDArray[np.int64]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Sketch(_Part):
    """What is kept of a column's values. `counts` are by bin; the last bin is of missing values."""

    counts: list[int]
    outside: int = 0
    """Values that no training row had: numbers out of its range, categories not seen in it."""
    mistyped: int = 0
    """Values of another type than declared; they are among the missing ones."""
    unseen: dict[str, int] = Field(default_factory=dict)
    """The most frequent categories that were not seen in training."""

    @property
    def rows(self) -> int:
        """How many values it is of, missing ones too."""
        return sum(self.counts)

    @property
    def missing(self) -> int:
        """How many of them are missing."""
        return self.counts[-1]

    def __add__(self, other: Sketch) -> Sketch:
        unseen = Counter(self.unseen) + Counter(other.unseen)
        return Sketch(
            counts=[a + b for a, b in zip(self.counts, other.counts, strict=True)],
            outside=self.outside + other.outside,
            mistyped=self.mistyped + other.mistyped,
            unseen=dict(unseen.most_common(NAMED_UNSEEN)),
        )


class NumberBins(_Part):
    """Bins of a number column: ``[edge, next edge)``, and the least and greatest value of the training rows."""

    type: Literal["number"] = "number"
    edges: list[float]
    low: float | None
    high: float | None

    def fold(self, values: Any) -> Sketch:
        """The sketch of an Arrow array of numbers or booleans; missing are null and NaN."""
        numbers = _floats(values)
        known = numbers[~np.isnan(numbers)]
        places = np.searchsorted(np.asarray(self.edges), known, side="right")
        counts: Counts = np.bincount(places, minlength=len(self.edges) + 1)
        outside = known < self.low if self.low is not None else np.ones(len(known), dtype=bool)
        if self.high is not None:
            outside |= known > self.high
        return Sketch(counts=[*counts.tolist(), len(numbers) - len(known)], outside=int(outside.sum()))


class CategoryBins(_Part):
    """Bins of a category column: one a frequent name, one for all other names. `rest` are the rarer known names."""

    type: Literal["category"] = "category"
    names: list[str]
    rest: list[str]
    more: bool = False
    """There were more names than are kept, so a name that is not among them may have been seen all the same."""

    def fold(self, values: Any) -> Sketch:
        """The sketch of an Arrow array of strings."""
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        tally = pc.value_counts(values.cast(pa.string()))
        names, rows = tally.field("values").to_pylist(), tally.field("counts").to_pylist()
        places = {name: place for place, name in enumerate(self.names)}
        rare = set(self.rest)
        counts = [0] * (len(self.names) + 2)
        unseen: Counter[str] = Counter()
        for name, number in zip(names, rows, strict=True):
            place = -1 if name is None else places.get(name, len(self.names))
            counts[place] += number
            if place == len(self.names) and not self.more and name not in rare:
                unseen[name] += number
        return Sketch(counts=counts, outside=unseen.total(), unseen=dict(unseen.most_common(NAMED_UNSEEN)))


Bins = Annotated[NumberBins | CategoryBins, Field(discriminator="type")]


def bins_of(values: Any, kind: FeatureType) -> NumberBins | CategoryBins:
    """The bins that the training rows' `values` (an Arrow array) give for a column of the declared type `kind`."""
    if kind == "category":
        tally = pc.value_counts(values.cast(pa.string()).drop_null())
        pairs = zip(tally.field("values").to_pylist(), tally.field("counts").to_pylist(), strict=True)
        names = [name for name, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))]
        top, rest = names[:TOP_CATEGORIES], names[TOP_CATEGORIES:KNOWN_CATEGORIES]
        return CategoryBins(names=top, rest=rest, more=len(names) > KNOWN_CATEGORIES)
    numbers = _floats(values)
    numbers = np.sort(numbers[np.isfinite(numbers)])
    if not len(numbers):
        return NumberBins(edges=[], low=None, high=None)
    return NumberBins(edges=_edges(numbers), low=float(numbers[0]), high=float(numbers[-1]))


def _edges(ordered: Array) -> list[float]:
    """Edges at the deciles; a value that is as frequent as a bin gets one of its own (no rain, zero items)."""
    some = np.unique(ordered)
    if len(some) <= NUMBER_BINS:
        cuts = some
    else:
        places = np.arange(1, NUMBER_BINS) * len(ordered) // NUMBER_BINS
        cuts = np.unique(ordered[places])
    edges: list[float] = []
    for cut in cuts:
        edges.append(float(cut))
        rows = np.searchsorted(ordered, cut, "right") - np.searchsorted(ordered, cut, "left")
        if len(some) <= NUMBER_BINS or rows * NUMBER_BINS >= len(ordered):
            edges.append(float(np.nextafter(cut, np.inf)))
    return edges


def fold(bins: Mapping[str, NumberBins | CategoryBins], batch: Any) -> dict[str, Sketch]:
    """The sketch of each column of `bins` in `batch`, an Arrow record batch or table; one it lacks is all missing."""
    found = {}
    for name, its in bins.items():
        place = batch.schema.get_field_index(name)
        found[name] = its.fold(batch.column(place) if place >= 0 else pa.nulls(batch.num_rows))
    return found


def add(parts: Iterable[Mapping[str, Sketch]]) -> dict[str, Sketch]:
    """The sketches of all the rows that `parts` are of."""
    whole: dict[str, Sketch] = {}
    for part in parts:
        whole = {name: whole[name] + sketch if name in whole else sketch for name, sketch in part.items()}
    return whole


def arrow(frame: pd.DataFrame, kinds: Mapping[str, FeatureType]) -> Any:
    """`frame`, columns as the models take them, as an Arrow table of strings and floats."""
    columns = {
        name: pa.array(frame[name], type=pa.string(), from_pandas=True)
        if kind == "category"
        else pa.array(frame[name].astype("float64"), from_pandas=True)
        for name, kind in kinds.items()
    }
    return pa.table(columns)


def _floats(values: Any) -> Array:
    """An Arrow array as floats, NaN where it is null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    numbers: Array = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return numbers
