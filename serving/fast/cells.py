"""Requests as one matrix of float64: a row for each field that matters, a column for each row of the request.

A number is itself, NaN if null. A category is its code: its place in a table that says what the model's own
preprocessing makes of it.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.fast.origins import NotCovered, Origin
from serving.fast.probe import Probe
from serving.models.model import PredictionFailed
from serving.models.signature import Field, Rows

REFUSED = -1
"""The code of a category that the model raises on."""


@dataclass(frozen=True)
class Number:
    """A field that the model takes as a number.

    `columns` are those of the model's matrix that it makes; `null` is what they hold if it is null, None if the model
    raises then. A field that is never null has any.
    """

    name: str
    columns: tuple[int, ...]
    null: np.ndarray | None


@dataclass(frozen=True)
class Category:
    """A field that the model takes as a category: `table[code]` is what its `columns` of the model's matrix hold."""

    name: str
    columns: tuple[int, ...]
    codes: Mapping[Any, int]
    unknown: int
    table: np.ndarray


class Cells:
    """Which fields a model takes, and how they are encoded."""

    def __init__(self, numbers: Sequence[Number], categories: Sequence[Category]) -> None:
        """Order the rows of the encoded matrix: first the numbers."""
        self.numbers = tuple(numbers)
        self.categories = tuple(categories)
        self._names = [number.name for number in numbers]
        self._coded = [(category.name, category.codes.get, category.unknown) for category in categories]
        self._count = len(numbers) + len(categories)
        self._refusing = any(
            category.unknown == REFUSED or REFUSED in category.codes.values() for category in categories
        )
        self._never_null = [row for row, number in enumerate(numbers) if number.null is None]

    def encode(self, rows: Rows) -> np.ndarray:
        """Return checked rows as a matrix."""
        columns = rows.columns
        values: list[Any]
        if rows.count == 1:
            values = [columns[name][0] for name in self._names]
            values += [code(columns[name][0], unknown) for name, code, unknown in self._coded]
        else:
            values = [columns[name] for name in self._names]
            values += [[code(value, unknown) for value in columns[name]] for name, code, unknown in self._coded]
        return np.array(values, dtype=np.float64).reshape(self._count, rows.count)

    def only(self, columns: Container[int]) -> "Cells":
        """Return what is left without the numbers that make none of these columns of the matrix."""
        used = [number for number in self.numbers if number.null is None or any(c in columns for c in number.columns)]
        return Cells(used, self.categories)

    def check(self, cells: np.ndarray) -> None:
        """Pass if the model's own preprocessing takes these values.

        Raises:
            PredictionFailed: it does not.
        """
        if self._refusing and (cells[len(self.numbers) :] == REFUSED).any():
            raise PredictionFailed("it does not take a category that it has not seen in training")
        if self._never_null and np.isnan(cells[self._never_null]).any():
            raise PredictionFailed("it does not take a missing value")


def learn(probe: Probe, origins: Sequence[Origin], known: Mapping[int, list[Any]], nan_allowed: bool) -> Cells:
    """Find out what becomes of each field.

    Args:
        probe: runs the model's own steps.
        origins: of the columns of the model's matrix.
        known: the categories that the model knows, by field.
        nan_allowed: whether the model takes NaN (and infinity in place of a category).

    Raises:
        NotCovered: a field is of a type that is not compiled.
    """
    by_field = _columns(origins, coded=False)
    by_category = _columns(origins, coded=True)
    for number in by_field:
        if probe.fields[number].type == "datetime":
            raise NotCovered("the model takes a date")
    values = {number: _values(probe.fields[number], known.get(number, ())) for number in by_category}
    nullable = [n for n in sorted({*by_field, *by_category}) if not probe.fields[n].required]
    nulls = _alone(probe, dict.fromkeys(nullable))
    unknowns = _alone(probe, {n: _stranger(probe.fields[n], values[n]) for n in by_category})
    known_rows = probe.run(values)
    if known_rows.shape[1] != len(origins):
        raise NotCovered(f"its matrix has {known_rows.shape[1]} columns, {len(origins)} were expected")

    def usable(row: np.ndarray | None, columns: Sequence[int]) -> np.ndarray | None:
        if row is None or not (nan_allowed or np.isfinite(row[list(columns)]).all()):
            return None
        return row[list(columns)]

    numbers = [
        Number(probe.fields[n].name, tuple(columns), usable(nulls[n], columns) if n in nulls else np.empty(0))
        for n, columns in by_field.items()
    ]
    categories = []
    for n, columns in by_category.items():
        table = [usable(row, columns) for row in known_rows[: len(values[n])]]
        keys: list[Any] = list(values[n])
        if n in nulls:
            table.append(usable(nulls[n], columns))
            keys.append(None)
        table.append(usable(unknowns[n], columns))
        kept = [row for row in table if row is not None]
        codes = np.cumsum([row is not None for row in table]) - 1
        numbered = [int(code) if row is not None else REFUSED for code, row in zip(codes, table, strict=True)]
        categories.append(
            Category(
                probe.fields[n].name,
                tuple(columns),
                dict(zip(keys, numbered, strict=False)),
                numbered[-1],
                np.array(kept).reshape(len(kept), len(columns)),
            )
        )
    return Cells(numbers, categories)


def _columns(origins: Sequence[Origin], coded: bool) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for column, origin in enumerate(origins):
        if origin.coded == coded:
            found.setdefault(origin.field, []).append(column)
    return found


def _values(field: Field, categories: Sequence[Any]) -> list[Any]:
    """Return the categories that a request can have."""
    if field.type == "float" and categories:
        raise NotCovered(f"{field.name!r} is a float32 and a category")
    if field.type in ("integer", "long"):
        return list(dict.fromkeys(int(value) for value in categories if float(value).is_integer()))
    kind = {"string": str, "boolean": bool, "double": float, "float": float}.get(field.type)
    if kind is None:
        raise NotCovered(f"{field.name!r} is a {field.type} and a category")
    return list(dict.fromkeys(kind(value) for value in categories if kind is not str or isinstance(value, str)))


def _stranger(field: Field, known: Sequence[Any]) -> Any:
    """Return a value that is none of the known ones; of booleans there is none."""
    if field.type == "boolean" or not known:
        return {"boolean": False, "string": "unknown"}.get(field.type, 0)
    if field.type == "string":
        return max(known, key=len) + "?"
    return max(known) + 1 if max(known) < 2**31 - 1 else min(known) - 1


def _alone(probe: Probe, values: Mapping[int, Any]) -> dict[int, np.ndarray | None]:
    """Return, by field, the row of the model's matrix with that value in the field; None if the model raises."""
    try:
        row = probe.run({number: [value] for number, value in values.items()})[0]
        return dict.fromkeys(values, row)
    except Exception:
        if len(values) <= 1:
            return dict.fromkeys(values, None)
    return {number: _alone(probe, {number: value})[number] for number, value in values.items()}
