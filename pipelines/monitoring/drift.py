"""Drift and data quality by Evidently. Importing this costs seconds, so only `monitor` does, at need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset, DataSummaryPreset

from pipelines.project import Drift

KINDS = {"category": "category", "boolean": "category", "integer": "number", "number": "number"}


@dataclass(frozen=True)
class ColumnDrift:
    """How far a column moved; `score` is None where one side has no value at all."""

    column: str
    score: float | None
    threshold: float
    drifted: bool
    missing_share: float


@dataclass(frozen=True)
class DriftResult:
    """The drift of all columns."""

    columns: tuple[ColumnDrift, ...]

    @property
    def drifted(self) -> list[str]:
        """The columns that drifted, in declared order."""
        return [item.column for item in self.columns if item.drifted]

    @property
    def share(self) -> float:
        """The share of columns that drifted."""
        return len(self.drifted) / len(self.columns)


def compare(
    reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, str], rules: Drift, reports: Path
) -> DriftResult:
    """Compare `current` with `reference` (same columns; `kinds` maps each to its declared type).

    Writes ``drift.html`` and ``data_quality.html`` to the directory `reports`.
    """
    # Evidently refuses a column without any value; one that lost or gained all its values has drifted by definition.
    filled = [name for name in kinds if reference[name].notna().any() and current[name].notna().any()]
    scores = _report(reference[filled], current[filled], kinds, rules, reports) if filled else {}
    found = []
    for name, kind in kinds.items():
        test = rules.number if KINDS[kind] == "number" else rules.category
        score = scores.get(name)
        vanished = bool(reference[name].notna().any() != current[name].notna().any())
        drifted = score > test.threshold if score is not None else vanished
        found.append(ColumnDrift(name, score, test.threshold, drifted, float(current[name].isna().mean())))
    return DriftResult(tuple(found))


def _report(
    reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, str], rules: Drift, reports: Path
) -> dict[str, float]:
    """Run both reports and save them; the distance of each column."""
    definition = DataDefinition(
        numerical_columns=[name for name in reference if KINDS[kinds[name]] == "number"],
        categorical_columns=[name for name in reference if KINDS[kinds[name]] == "category"],
    )
    sides = [Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference)]
    # The default method changes with the number of rows, so both are set.
    preset = DataDriftPreset(
        num_method=rules.number.method,
        num_threshold=rules.number.threshold,
        cat_method=rules.category.method,
        cat_threshold=rules.category.threshold,
        drift_share=rules.share,
    )
    drift = Report([preset]).run(*sides)
    drift.save_html(str(reports / "drift.html"))
    Report([DataSummaryPreset()]).run(*sides).save_html(str(reports / "data_quality.html"))
    return {
        item["config"]["column"]: float(item["value"])
        for item in drift.dict()["metrics"]
        if item["config"]["type"].endswith(":ValueDrift")
    }
