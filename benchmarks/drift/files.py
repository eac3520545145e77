"""The two sides of the comparison, as files: `python -m benchmarks.drift.files DIR`. The last line is JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

from benchmarks.drift.data import KINDS, draw
from pipelines.monitoring import sketch
from pipelines.monitoring.baseline import Column, Content
from pipelines.project import FeatureType

ROWS = 1_000_000
REFERENCE, CURRENT, BASELINE = "reference.parquet", "current.parquet", "baseline.json"


def learn(before: pd.DataFrame, kinds: dict[str, FeatureType]) -> dict[str, Column]:
    """The baseline's columns, as a training makes them."""
    table = sketch.arrow(before, kinds)
    bins = {name: sketch.bins_of(table.column(name), kind) for name, kind in kinds.items()}
    return {name: Column(type=kinds[name], bins=its, sketch=its.fold(table.column(name))) for name, its in bins.items()}


def main() -> None:
    """Write both sides and the baseline."""
    directory = Path(sys.argv[1])
    draw(ROWS, 2).to_parquet(directory / CURRENT, index=False)
    before = draw(ROWS, 1)
    before.to_parquet(directory / REFERENCE, index=False)
    text = Content(task="classification", columns=learn(before, KINDS)).model_dump_json()
    print(json.dumps({"baseline_bytes": (directory / BASELINE).write_text(text, encoding="utf-8")}))


if __name__ == "__main__":
    main()
