"""Evidently's side, in a process of its own: `python -m benchmarks.drift.evidently_default DIR`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

from benchmarks.drift.peak import tell


def main() -> None:
    """Its preset for drift with its defaults, on both sides as frames."""
    directory = Path(sys.argv[1])
    start = time.perf_counter()
    sides = [pd.read_parquet(directory / f"{name}.parquet") for name in ("current", "reference")]
    found = Report([DataDriftPreset()]).run(*sides).dict()
    tell(time.perf_counter() - start, int(found["metrics"][0]["value"]["count"]))


if __name__ == "__main__":
    main()
