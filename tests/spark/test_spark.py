"""The engine `spark` on a local Spark, in Spark's own environment: the same answers as the engine `local`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipelines.batch import spark
from pipelines.batch.parts import Job, open_job, score_part
from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.models.model_store import MODEL_FILE
from tests.java import needs_java
from tests.pipelines.batch.cases import made_job, orders

ENVS = Path(os.environ["PLATFORM_TEST_ENVS"])
REPO = Path(__file__).resolve().parents[2]
MASTER = "local[2]"
NOWHERE = "127.0.0.1:9"

pytestmark = needs_java


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    return Environment(
        repo=REPO,
        envs_dir=ENVS,
        state_dir=tmp_path / "state",
        warehouse_url=f"postgresql://{NOWHERE}/warehouse",
        predictions_url=f"postgresql://{NOWHERE}/serving",
        mlflow_uri=f"http://{NOWHERE}",
        s3_endpoint_url=f"http://{NOWHERE}",
        aws_access_key_id="",
        aws_secret_access_key="",
        landing_bucket="landing",
        snapshots_bucket="snapshots",
        serving_url=f"http://{NOWHERE}",
        serving_api_key="",
        spark_master=MASTER,
    )


def scores(job: Job) -> pd.DataFrame:
    return pa.concat_tables(job.scores()).to_pandas().drop(columns="scored_at")


def test_spark_gives_the_same_scores_and_does_only_what_is_left(env: Environment, tmp_path: Path) -> None:
    spark.check(env)
    here = made_job(tmp_path / "here", orders(1000), 150)
    for number in here.parts:
        score_part(here, number)
    job = made_job(tmp_path / "there", orders(1000), 150)
    score_part(job, 3)
    done = job.output(3).stat().st_mtime_ns
    told: list[int] = []
    spark.score(env, job, told.append)
    pd.testing.assert_frame_equal(scores(job), scores(here))
    assert np.isfinite(scores(job)["probability"]).all()
    assert sum(told) == 850
    assert job.output(3).stat().st_mtime_ns == done


def test_a_changed_artifact_is_told_by_the_workers(env: Environment, tmp_path: Path) -> None:
    job = made_job(tmp_path / "job", orders(100), 50)
    with (job.directory / "model" / MODEL_FILE).open("ab") as file:
        file.write(b"more")
    with pytest.raises(StepError, match="shop version 3: the artifact is not what was logged") as refusal:
        spark.score(env, job, lambda count: None)
    assert refusal.value.where == f"Spark at {MASTER}"
    assert job.undone == [0, 1]


def test_spark_ends_with_the_step_that_started_it(tmp_path: Path) -> None:
    job = made_job(tmp_path / "job", orders(60_000), 20)
    command = [sys.executable, "-m", "pipelines.batch.spark_job", str(job.directory), MASTER]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(REPO), "PYSPARK_PYTHON": sys.executable},
        start_new_session=True,
    )
    try:
        _await(lambda: any((job.directory / "output").iterdir()))
        assert process.stdin is not None
        process.stdin.close()  # as the kernel does when the step is killed
        assert process.wait(60) == 1
        _await(lambda: not _alive(process.pid))
    finally:
        if _alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    left = open_job(job.directory)
    assert left is not None
    assert 0 < len(left.undone) < len(left.parts)


def _alive(group: int) -> bool:
    """Whether the process group has a process that runs."""
    found = subprocess.run(["ps", "-o", "stat=", "-g", str(group)], capture_output=True, text=True, check=False)
    return any(not state.startswith("Z") for state in found.stdout.split())


def _await(condition: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
