"""The platform's side, in a process of its own: `python -m benchmarks.drift.sketched DIR`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.drift.peak import tell
from pipelines.monitoring import drift, sketch
from pipelines.monitoring.baseline import Content
from pipelines.project import Drift

BATCH_ROWS = 65_536


def main() -> None:
    """Fold the new rows batch by batch, and compare them with the baseline."""
    directory = Path(sys.argv[1])
    start = time.perf_counter()
    columns = Content.model_validate_json((directory / "baseline.json").read_bytes()).columns
    bins = {name: column.bins for name, column in columns.items()}
    seen: dict[str, sketch.Sketch] = {}
    with pq.ParquetFile(directory / "current.parquet") as file:
        for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
            seen = sketch.add([seen, sketch.fold(bins, batch)])
    found = drift.compare(columns, seen, Drift())
    tell(time.perf_counter() - start, len(found.drifted))


if __name__ == "__main__":
    main()
