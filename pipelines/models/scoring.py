"""Answers of a fitted model for raw features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import StepError
from pipelines.training.metrics import Array


def predict(model: Any, x: pd.DataFrame, where: str) -> Array:
    """The answers for `x`, of which an older model may know fewer columns; shape (n,), finite.

    A classifier answers with the probability of class 1, a regressor with the value. StepError if a feature that the
    model needs is no longer declared, or if its answers are not one finite number a row.
    """
    return checked(answers(model, x[needed(model, x, where)]), len(x), where)


def answers(model: Any, x: pd.DataFrame) -> Any:
    """What `predict` checks: the second column of `predict_proba`, or what `predict` gives."""
    if not hasattr(model, "predict_proba"):
        return model.predict(x)
    found = np.asarray(model.predict_proba(x))
    return found[:, 1] if found.ndim == 2 and found.shape[1] == 2 else found


def needed(model: Any, x: pd.DataFrame, where: str) -> list[str]:
    """The columns that `model` was fitted on, in its order; StepError if `x` lacks one."""
    known = getattr(model, "feature_names_in_", None)
    columns = list(x.columns) if known is None else list(known)
    missing = [name for name in columns if name not in x.columns]
    if missing:
        raise StepError(
            f"the model needs the features {', '.join(missing)}, which are no longer declared",
            where=where,
            do="the declaration changed since it was trained: declare them again, or remove the alias champion from it",
        )
    return columns


def checked(found: Any, rows: int, where: str) -> Array:
    """`found` as an array of `rows` finite numbers; StepError if it is none."""
    values = np.asarray(found)
    if values.shape != (rows,) or values.dtype.kind not in "fiub":
        raise StepError(
            f"the model answers with {values.dtype} of shape {values.shape} for {rows} rows, not with one number a row",
            where=where,
            do="a classifier needs predict_proba with two classes, a regressor predict with one value a row",
        )
    array: Array = values.astype("float64")
    wrong = int((~np.isfinite(array)).sum())
    if wrong:
        raise StepError(
            f"the model answers with NaN or infinity for {wrong} of {rows} rows",
            where=where,
            do="look at the values that it was trained on, and at its parameters",
        )
    return array
