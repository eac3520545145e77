"""What a version has to show before it serves: that it predicts its input example, and as it did when it was logged."""

import json
import math
from collections.abc import Mapping
from typing import Any

from contract import EXAMPLE_OUTPUT_TAG
from serving.errors import RequestError, VersionRefused, show
from serving.models.model import Engine, PredictionFailed, Scores
from serving.models.signature import Rows, Signature

TOLERANCE = 1e-6
"""Relative; another processor adds up in another order."""


def example_rows(signature: Signature, records: list[dict[str, Any]]) -> Rows:
    """Return an input example as rows.

    Raises:
        VersionRefused: it does not fit the signature.
    """
    try:
        return signature.check(records, None)
    except RequestError as exc:
        raise VersionRefused(f"its input example does not fit its signature: {exc.message}") from exc


def warm_up(engine: Engine, rows: Rows) -> Scores:
    """Predict the whole example and its first record alone, the way requests are; return the scores of the whole.

    Raises:
        VersionRefused: it fails.
    """
    first = Rows(1, {name: values[:1] for name, values in rows.columns.items()}, rows.entity_keys[:1])
    try:
        engine.predict(engine.encode(first))
        return engine.predict(engine.encode(rows))
    except PredictionFailed as exc:
        raise VersionRefused(f"it fails on its own input example: {exc}") from exc


def compare(scores: Scores, tags: Mapping[str, str]) -> None:
    """Pass if `scores` are what `EXAMPLE_OUTPUT_TAG` says that the model answered when it was logged, or is not there.

    Raises:
        VersionRefused: they are not.
    """
    if EXAMPLE_OUTPUT_TAG not in tags:
        return
    try:
        logged = json.loads(tags[EXAMPLE_OUTPUT_TAG])
        expected = {"prediction": logged["predictions"], "probability": logged["probabilities"]}
    except (ValueError, TypeError, KeyError) as exc:
        raise VersionRefused(f"its tag {EXAMPLE_OUTPUT_TAG} cannot be read: {type(exc).__name__}: {exc}") from exc
    actual = {"prediction": scores.predictions, "probability": scores.probabilities}
    for what, was in expected.items():
        difference = _difference(was, actual[what])
        if difference:
            raise VersionRefused(
                f"it does not answer its input example as it did when it was logged: {what} {difference} "
                f"(tag {EXAMPLE_OUTPUT_TAG}). Compare the packages here with those in its requirements.txt"
            )


def _difference(was: list[Any] | None, now: list[Any] | None) -> str:
    if was is None or now is None:
        return "" if was is now else f"was {_kind(was)} and is {_kind(now)}"
    if len(was) != len(now):
        return f"was of {len(was)} rows and is of {len(now)}"
    for row, (old, new) in enumerate(zip(was, now, strict=True)):
        if not _same(old, new):
            return f"of row {row} was {show(old)} and is {show(new)}"
    return ""


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, (int, float)) and isinstance(new, (int, float)):
        return math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(old == new)


def _kind(values: list[Any] | None) -> str:
    return "none" if values is None else "a number a row"
