"""Compares a compiled engine with the model's own predict, on rows where they would differ if they did."""

import math
import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from serving.fast.engine import Compiled
from serving.models.model import Estimator, PredictionFailed, Scores
from serving.models.signature import Field, Rows, Signature, join_rows

TOLERANCE = 1e-6
"""Relative. Sums over trees are the same to the last bit; matrix products may add up in another order."""
_SEED = 20
_ROWS = 800
"""Most made-up rows of ordinary values; a quarter as many are made of these with nulls in between."""
_SPECIAL_ROWS = 240
"""Most rows that have one special value."""
_REFUSED_ROWS = 12
"""Most rows that are tried alone with a model that should raise on them."""
_MAX = {
    "double": 1.7976931348623157e308,
    "float": 3.4028234663852886e38,
    "integer": 2**31 - 1,
    "long": 2**63 - 1,
}
_SPECIAL: Mapping[str, Sequence[Any]] = {
    "double": (1e300, -1e300, 3.5e38, -3.5e38, 1e30, -1e30, 0.0, -0.0, 5e-324, _MAX["double"], -_MAX["double"]),
    "float": (1e30, -1e30, 0.0, -0.0, 1e-45, _MAX["float"], -_MAX["float"]),
    "integer": (0, 1, -1, _MAX["integer"], -_MAX["integer"] - 1),
    "long": (0, 1, -1, 2**53 + 1, -(2**53) - 1, _MAX["long"], -_MAX["long"] - 1),
    "string": ("", " ", "none of the known", "\N{SNOWMAN}"),
    "boolean": (),
    "datetime": (),
}


class Differs(Exception):
    """The compiled engine does not answer as the model's own predict does."""


def verify(engine: Compiled, own: Estimator, signature: Signature, example: Rows) -> None:
    """Pass if `engine` and `own` agree on the example and on made-up rows within the signature.

    The made-up rows have the values at which the engine branches (each at least once unless there are too many) and
    those next to them, categories known and unknown, nulls, and the limits of each type. Rows that the engine refuses
    have to be such as the model raises on.

    Raises:
        Differs: they do not agree.
    """
    chance = random.Random(_SEED)  # noqa: S311
    landmarks = engine.landmarks()
    pools = {
        field.name: _ordinary(field, landmarks.get(field.name, ()), example.columns[field.name], chance)
        for field in signature.fields
    }
    for pool in pools.values():
        chance.shuffle(pool)
    count = min(_ROWS, max(map(len, pools.values())))
    rows = [_row({name: pool[number % len(pool)] for name, pool in pools.items()}) for number in range(count)]
    optional = [field.name for field in signature.fields if not field.required]
    if optional:
        rows += [_with(row, {name: None for name in optional if chance.random() < 0.3}) for row in rows[::4]]
    special = [(field.name, value) for field in signature.fields for value in _special(field)]
    chance.shuffle(special)
    rows += [_with(chance.choice(rows), {name: value}) for name, value in special[:_SPECIAL_ROWS]]
    rows += [_one(example, number) for number in range(example.count)]
    with np.errstate(all="ignore"):  # the limits of a type may well overflow
        _compare(engine, own, rows, chance)


def _compare(engine: Compiled, own: Estimator, rows: list[Rows], chance: random.Random) -> None:
    taken, alone, refused = [], [], []
    for row in rows:
        try:
            alone.append(engine.predict(engine.encode(row)))
            taken.append(row)
        except PredictionFailed:
            refused.append(row)
    together = join_rows(taken)
    encoded = engine.encode(together)
    joined = engine.join([engine.encode(row) for row in taken])
    if not np.array_equal(encoded, joined, equal_nan=True):
        raise Differs("requests joined are not encoded as one")
    scores = engine.predict(joined)
    try:
        expected = own.predict(together)
    except PredictionFailed as exc:
        raise Differs(f"its own predict fails on what the compiled one takes: {exc}") from exc
    for number, one in enumerate(alone):
        _same(one, expected.part(number, number + 1), taken[number], "alone")
        _same(scores.part(number, number + 1), expected.part(number, number + 1), taken[number], "with others")
    for row in chance.sample(refused, min(_REFUSED_ROWS, len(refused))):
        try:
            own.predict(row)
        except PredictionFailed:
            continue
        raise Differs(f"it does not take {_shown(row)}, its own predict does")


def _same(scores: Scores, expected: Scores, row: Rows, how: str) -> None:
    pairs = [(scores.predictions, expected.predictions), (scores.probabilities, expected.probabilities)]
    for actual, wanted in pairs:
        if actual is None or wanted is None:
            same = actual is wanted
        else:
            same = type(actual[0]) is type(wanted[0]) and _close(actual[0], wanted[0])
        if not same:
            raise Differs(f"{actual} {how}, {wanted} by its own predict, for {_shown(row)}")


def _close(actual: Any, wanted: Any) -> bool:
    if isinstance(actual, float):
        return math.isclose(actual, wanted, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(actual == wanted)


def _ordinary(field: Field, landmarks: Sequence[Any], example: Sequence[Any], chance: random.Random) -> list[Any]:
    """Return values that a field has in practice, and those around which the engine's answer changes."""
    seen = [value for value in example if value is not None]
    known = [value for value in landmarks if value is not None]
    if field.type not in _MAX:
        defaults = {"string": "", "boolean": True, "datetime": datetime(2000, 1, 1)}
        return [*seen, *known] or [defaults[field.type]]
    most = _MAX[field.type]
    numbers = [min(max(number, -most), most) for number in map(float, [*seen, *known]) if math.isfinite(number)]
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    numbers += [math.nextafter(number, side) for number in numbers for side in (-most, most)]
    numbers += [low + (high - low) * chance.random() for _ in range(20)]
    if field.type in ("integer", "long"):
        whole = [whole for number in numbers for whole in (math.floor(number), math.ceil(number))]
        return seen + [min(max(number, int(-most - 1)), int(most)) for number in whole]
    return seen + numbers


def _special(field: Field) -> list[Any]:
    return [*_SPECIAL[field.type], *([] if field.required else [None])]


def _row(values: Mapping[str, Any]) -> Rows:
    return Rows(1, {name: [value] for name, value in values.items()}, [None])


def _with(row: Rows, values: Mapping[str, Any]) -> Rows:
    return Rows(1, row.columns | {name: [value] for name, value in values.items()}, [None])


def _one(rows: Rows, number: int) -> Rows:
    return Rows(1, {name: values[number : number + 1] for name, values in rows.columns.items()}, [None])


def _shown(row: Rows) -> str:
    return str({name: values[0] for name, values in row.columns.items()})
