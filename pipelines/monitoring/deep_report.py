"""The deep report: Evidently's pages on a sample. Importing this costs seconds, so only `monitor` does, at need."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset, DataSummaryPreset

from pipelines.monitoring.drift import CATEGORICAL
from pipelines.project import Drift, FeatureType

PAGES = ("drift.html", "data_quality.html")


def write(
    reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, FeatureType], rules: Drift, directory: Path
) -> None:
    """Write `PAGES` about `current` against `reference` (same columns; `kinds` has the type of each) to `directory`.

    What counts as drift is decided by `pipelines.monitoring.drift`; the pages show how the columns look.
    """
    # Evidently refuses a column without any value.
    filled = [name for name in kinds if reference[name].notna().any() and current[name].notna().any()]
    if not filled:
        return
    definition = DataDefinition(
        numerical_columns=[name for name in filled if kinds[name] not in CATEGORICAL],
        categorical_columns=[name for name in filled if kinds[name] in CATEGORICAL],
    )
    sides = [Dataset.from_pandas(frame[filled], data_definition=definition) for frame in (current, reference)]
    # The default method changes with the number of rows, so both are set.
    preset = DataDriftPreset(
        num_method=rules.number.method,
        num_threshold=rules.number.threshold,
        cat_method=rules.category.method,
        cat_threshold=rules.category.threshold,
        drift_share=rules.share,
    )
    for page, metrics in zip(PAGES, (preset, DataSummaryPreset()), strict=True):
        Report([metrics]).run(*sides).save_html(str(directory / page))
