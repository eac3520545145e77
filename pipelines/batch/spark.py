"""The engine `spark`: the parts of a job as the tasks of a Spark application, started in Spark's own environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.batch.parts import Job
from pipelines.environment import Environment
from pipelines.errors import StepError

OLDEST_JAVA = 17
POLL_SECONDS = 0.2
_STAMP = ".stamp.json"


def check(env: Environment) -> None:
    """StepError if Spark's environment or a Java that it runs on is missing."""
    if not (env.envs_dir / "spark" / _STAMP).exists():
        raise StepError(
            "Spark is not installed", where="engine spark", do="`platform install spark`, or score with --engine local"
        )
    java = _java()
    version = _java_version(java) if java else None
    if version is None or version < OLDEST_JAVA:
        found = f"the one at {java} is {version or 'of an unknown version'}" if java else "there is none"
        raise StepError(
            f"Spark needs Java {OLDEST_JAVA} or newer, and {found}",
            where="engine spark",
            do="install it (Debian, Ubuntu: apt-get install default-jre-headless) or let JAVA_HOME name it; "
            "or score with --engine local",
        )


def score(env: Environment, job: Job, advance: Callable[[int], None]) -> None:
    """Compute the undone parts. `advance` is told how many rows have been scored since it was last called.

    StepError with the reason of the first part that failed. The application ends with this process.
    """
    python = env.envs_dir / "spark" / "bin" / "python"
    log = job.directory / "spark.log"
    command = [str(python), "-m", "pipelines.batch.spark_job", str(job.directory), env.spark_master]
    variables = os.environ | {"PYTHONPATH": str(env.repo), "PYSPARK_PYTHON": str(python)}
    undone = job.undone
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=variables
        )
    try:
        while process.poll() is None:
            undone = _advance(job, undone, advance)
            time.sleep(POLL_SECONDS)
        said = process.stdout.read() if process.stdout else ""
    finally:
        process.kill()
        process.wait()
    _advance(job, undone, advance)
    if process.returncode:
        last = said.strip() or _last_line(log)
        raise StepError(f"Spark failed: {last}", where=f"Spark at {env.spark_master}", do=f"its log: {log}")


def _advance(job: Job, undone: list[int], advance: Callable[[int], None]) -> list[int]:
    """Tell what is done of the parts `undone`, and return those that are left."""
    done = [number for number in undone if job.output(number).exists()]
    advance(sum(map(job.rows_of, done)))
    return sorted(set(undone) - set(done))


def _java() -> str | None:
    """The program that Spark will start: that of JAVA_HOME, else the first on the path."""
    home = os.environ.get("JAVA_HOME")
    return shutil.which(str(Path(home, "bin", "java")) if home else "java")


def _java_version(java: str) -> int | None:
    """17 for `openjdk version "17.0.15"`, 8 for `java version "1.8.0_402"`; None if it says neither."""
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(found[1]) if found else None


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
