"""The process that runs a project's code: what it does with code that misbehaves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import StepError
from pipelines.project import Project, load_project
from pipelines.training.limits import Worker, bounded_memory, thread_variables
from pipelines.training.worker import ROWS_FILE, Job

MODEL = """
from sklearn.dummy import DummyClassifier

class Model(DummyClassifier):
    def fit(self, x, y):
        {fit}
        return super().fit(x, y)

def build(parameters, features, seed):
    {build}
    return Model()
"""


@pytest.fixture
def shop(repo: Path, declare: Callable[[str, str], None]) -> Callable[..., Project]:
    """The project with an entry point that runs a statement in `build`, or in the model's `fit`."""

    def make(build: str = "pass", fit: str = "pass", timeout: str = "60s") -> Project:
        (repo / "projects/shop/train.py").write_text(MODEL.format(build=build, fit=fit))
        declare("  seed: 3", f"  seed: 3\n  resources: {{memory_mb: 300, timeout: {timeout}}}")
        return load_project(repo, "shop")

    return make


def work(project: Project, directory: Path, rows: pd.DataFrame) -> list[dict[str, Any]]:
    rows.to_parquet(directory / ROWS_FILE)
    job = Job(project=project, directory=directory, uri="s3://snapshots/shop/x.parquet")
    with Worker(project.training.resources, "projects/shop") as worker:
        return list(worker.work(job.model_dump(mode="json")))


MEMORY = "needs more than the 300 MB of memory"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ({"fit": "raise ValueError('no luck')"}, "train.py:6: the model cannot be fitted: ValueError: no luck"),
        ({"fit": "import numpy; numpy.ones(10**8)"}, f"the training {MEMORY}"),
        ({"build": "bytearray(10**9)"}, f"the training {MEMORY}"),
        ({"build": "import sys; sys.exit(0)"}, "the project's code ends the process"),
        ({"build": "import os; os._exit(0)"}, "ended by itself with exit code 0"),
        ({"build": "import os; os.abort()"}, f"ended by SIGABRT: it crashed, or {MEMORY}"),
        ({"build": "import time; time.sleep(60)", "timeout": "1s"}, "took longer than the 1s that it may"),
    ],
)
def test_what_a_training_may_not_do_is_one_message(
    shop: Callable[..., Project], tmp_path: Path, rows: pd.DataFrame, code: dict[str, str], told: str
) -> None:
    with pytest.raises(StepError, match=told) as refusal:
        work(shop(**code), tmp_path, rows)
    assert refusal.value.where.startswith("projects/shop")
    assert refusal.value.do


def test_what_the_code_prints_is_no_message_and_what_it_starts_does_not_outlive_it(
    shop: Callable[..., Project], tmp_path: Path, rows: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pid"
    start = f"import subprocess; pid = subprocess.Popen(['sleep', '600']).pid; open({str(file)!r}, 'w').write(str(pid))"
    told = work(shop(build=f"{start}; print('hello')"), tmp_path, rows)
    assert [list(message) for message in told] == [["done"]]
    captured = capfd.readouterr()
    assert "hello" in captured.err
    assert captured.out == ""
    assert not _runs(int(file.read_text()))


def test_a_worker_ends_with_its_parent_however_that_ends(
    shop: Callable[..., Project], tmp_path: Path, rows: pd.DataFrame
) -> None:
    file = tmp_path / "pid"
    busy = shop(build=f"import os, time; open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    rows.to_parquet(tmp_path / ROWS_FILE)
    job = Job(project=busy, directory=tmp_path, uri="s3://x").model_dump(mode="json")
    script = f"""
from pipelines.project import Resources
from pipelines.training.limits import Worker
with Worker(Resources(), "here") as worker:
    list(worker.work({job!r}))
"""
    parent = subprocess.Popen([sys.executable, "-c", script])
    await_true(lambda: file.exists() and file.read_text() != "")
    parent.kill()
    parent.wait()
    await_true(lambda: not _runs(int(file.read_text())))


def await_true(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_memory_is_bounded_inside_the_block_only() -> None:
    with pytest.raises(MemoryError), bounded_memory(100):
        np.ones(200 << 17)
    with bounded_memory(300):
        assert len(np.ones(200 << 17)) == 200 << 17
    assert len(np.ones(400 << 17)) == 400 << 17


def test_threads_are_held_to_what_is_declared() -> None:
    assert thread_variables(2)["OMP_NUM_THREADS"] == "2"
    assert thread_variables(2)["OMP_WAIT_POLICY"] == "PASSIVE"
    assert set(thread_variables(2)) >= {"OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"}
    assert os.environ.get("LOKY_MAX_CPU_COUNT") is None, "only in the worker"
