"""The Spark application of a job: `python -m pipelines.batch.spark_job DIRECTORY MASTER`, in Spark's environment.

A task is a part: it reads the part's file, computes its scores and writes them. The directory must be one that every
worker sees. Prints the reason and exits 1 if a part cannot be computed.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.batch.parts import open_job, score_part
from pipelines.errors import StepError


def main(directory: Path, master: str) -> int:
    """Compute the undone parts of the job in `directory`; the exit code."""
    job = open_job(directory)
    if job is None or not job.undone:
        return 0
    spark = _session(f"score {job.scorer.title}", master)
    try:
        parts = spark.sparkContext.parallelize(job.undone, len(job.undone))
        failures = parts.map(lambda number: _compute(directory, number)).filter(bool).collect()
    finally:
        spark.stop()
    if failures:
        print(failures[0])
    return int(bool(failures))


def _compute(directory: Path, number: int) -> str | None:
    """Score a part; the reason if it cannot be scored. Raising it would make Spark try the same again."""
    job = open_job(directory)
    if job is None:
        return f"{directory} is not there on every worker: let STEP_STATE_DIR be a directory that all of them see"
    try:
        score_part(job, number)
    except StepError as error:
        return f"{error.where}: {error.what}"
    return None


def _session(name: str, master: str) -> SparkSession:
    builder = SparkSession.Builder().appName(name).master(master)
    builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    builder = builder.config("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"])
    if master.startswith("local"):
        builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
    return builder.getOrCreate()


def _end_with_parent() -> None:
    """End when the standard input closes, as it does when the process that started this one is gone."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
