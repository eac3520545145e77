"""Probabilities of a fitted model for raw features."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipelines.errors import StepError
from pipelines.training.metrics import Array


def predict(model: Any, x: pd.DataFrame, where: str) -> Array:
    """The probabilities of class 1 for `x`, of which an older model may know fewer columns; shape (n,)."""
    known = getattr(model, "feature_names_in_", None)
    columns = list(x.columns) if known is None else list(known)
    missing = [name for name in columns if name not in x.columns]
    if missing:
        raise StepError(
            f"the model needs the features {', '.join(missing)}, which are no longer declared",
            where=where,
            do="the declaration changed since it was trained: declare them again, or remove the alias champion from it",
        )
    probabilities: Array = model.predict_proba(x[columns])[:, 1]
    return probabilities
