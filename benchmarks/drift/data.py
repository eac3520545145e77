"""Rows with the shapes that columns have: bell, skewed, mostly zero, few whole numbers, names common and rare."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipelines.project import FeatureType

NUMBERS, ZEROS, INTEGERS, CATEGORIES = 8, 3, 4, 5
MISSING = 0.03
SHIFTED = "shifted"

KINDS: dict[str, FeatureType] = {
    **{f"number_{place}": "number" for place in range(NUMBERS)},
    **{f"zeros_{place}": "number" for place in range(ZEROS)},
    **{f"integer_{place}": "integer" for place in range(INTEGERS)},
    **{f"category_{place}": "category" for place in range(CATEGORIES)},
}


def draw(rows: int, seed: int, shift: float | None = None) -> pd.DataFrame:
    """Rows of the 20 columns `KINDS`, of the same distributions whatever the seed.

    With `shift` there is one more column, `SHIFTED`, whose mean is moved by so many standard deviations.
    """
    random = np.random.default_rng(seed)
    columns: dict[str, object] = {}
    for place in range(NUMBERS):
        values = random.normal(size=rows) if place % 2 else random.lognormal(size=rows)
        columns[f"number_{place}"] = np.where(random.random(rows) < MISSING, np.nan, values)
    for place in range(ZEROS):
        columns[f"zeros_{place}"] = np.where(random.random(rows) < 0.9, 0.0, random.exponential(size=rows))
    for place in range(INTEGERS):
        columns[f"integer_{place}"] = random.integers(0, 6 * (place + 1), rows)
    for place in range(CATEGORIES):
        count = 4 * 3**place
        shares = 1 / np.arange(1, count + 1)
        names = np.array([f"name_{number}" for number in range(count)], dtype=object)
        columns[f"category_{place}"] = names[random.choice(count, rows, p=shares / shares.sum())]
    if shift is not None:
        columns[SHIFTED] = random.normal(shift, size=rows)
    return pd.DataFrame(columns)
