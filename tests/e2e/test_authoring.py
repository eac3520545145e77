"""A project of another kind, made by `platform new` from a table, through the loop; and trials that leave nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import httpx
import numpy as np
import psycopg
import pytest

from pipelines.authoring.scratch import LOCK, PREFIX, open_scratch
from pipelines.environment import Environment
from tests.e2e.shop import SERVED_SECONDS, Shop
from tools.scratch import REPO, Stack

ROWS = 2400
COLUMNS = "plant_id text, planted_at timestamp, soil text, sun double precision, water integer, height double precision"


class Garden(Shop):
    """How high will this plant grow? A regression, made by `platform new` in a checkout of its own."""

    def __init__(self, name: str, directory: Path, variables: dict[str, str]) -> None:
        super().__init__(name, directory, variables)
        shutil.rmtree(self.directory)
        for part in ("dbt_project", "airbyte"):
            shutil.copytree(REPO / part, directory / part, ignore=shutil.ignore_patterns("target", "logs"))
        self.repo = directory

    def load(self, *_: Any, **__: Any) -> None:
        """A season of plants: the sun makes them grow, on clay less."""
        random = np.random.default_rng(5)
        sun, water = random.uniform(2, 12, ROWS), random.integers(0, 9, ROWS)
        soil = random.choice(np.array(["clay", "loam", "sand"]), ROWS)
        height = 4 * sun + 2 * water - 10 * (soil == "clay") + random.normal(0, 3, ROWS)
        rows = [
            (
                f"p{number}",
                f"2024-{1 + number // 400:02}-{1 + number % 28:02} 08:00",
                str(soil[number]),
                float(sun[number]) if number % 40 else None,
                int(water[number]),
                float(height[number]),
            )
            for number in range(ROWS)
        ]
        self.sql(f"CREATE SCHEMA {{name}}; CREATE TABLE {{name}}.plants ({COLUMNS})")
        with psycopg.connect(self.variables["WAREHOUSE_URL"]) as connection:
            connection.cursor().executemany(f"INSERT INTO {self.name}.plants VALUES (%s, %s, %s, %s, %s, %s)", rows)  # noqa: S608 (a name made here)

    def command(self, *words: str) -> list[str]:
        return [f"{self.variables['ENVS_DIR']}/pipelines/bin/python", "-m", "pipelines.authoring", *words]

    def author(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`platform new`, `check` or `test` in this checkout."""
        return subprocess.run(
            self.command(*words), env=self.variables, cwd=REPO, capture_output=True, text=True, timeout=400, check=False
        )

    def traces(self) -> dict[str, Any]:
        """All that a trial could leave: schemas, rows by project, objects, experiments, models, files."""
        tables = self.sql(
            "SELECT table_schema || '.' || table_name FROM information_schema.columns WHERE column_name = 'project' "
            "AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
        )
        names = ("S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "SNAPSHOTS_BUCKET")
        endpoint, key, secret, bucket = (self.variables[name] for name in names)
        s3 = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret)
        return {
            "schemas": self.sql("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", PREFIX),
            "rows": [
                row
                for (table,) in tables
                for row in self.sql(
                    f"SELECT project, count(*) FROM {table} WHERE project = %s OR starts_with(project, %s) GROUP BY 1",  # noqa: S608 (a name of the catalogue)
                    self.name,
                    PREFIX,
                )
            ],
            "objects": s3.list_objects_v2(Bucket=bucket, Prefix=PREFIX).get("KeyCount"),
            "experiments": [item.name for item in self.mlflow.search_experiments() if item.name.startswith(PREFIX)],
            "models": [item.name for item in self.mlflow.search_registered_models() if item.name.startswith(PREFIX)],
            "files": sorted(path.name for path in Path(self.variables["STEP_STATE_DIR"], "trials").glob("*")),
        }

    def predict(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """What the model server answers."""
        url = f"{self.variables['SERVING_URL']}/models/{self.name}/predict"
        headers = {"Authorization": f"Bearer {self.variables['SERVING_API_KEY']}"}
        answer = httpx.post(url, json={"records": records}, headers=headers, timeout=30)
        return dict(answer.json()) if answer.is_success else {"refused": answer.text}

    def await_answer(self, version: int) -> None:
        """Wait until the model server answers with `version`."""
        deadline = time.monotonic() + SERVED_SECONDS
        while self.predict([{"soil": "loam", "sun": 5.0, "water": 3}]).get("version") != version:
            assert time.monotonic() < deadline, f"version {version} is not served"
            time.sleep(0.2)

    def await_end_of_trials(self) -> None:
        """Wait until PostgreSQL has seen that those who held a trial's lock are gone."""
        deadline = time.monotonic() + SERVED_SECONDS
        while self.sql("SELECT pid FROM pg_stat_activity WHERE application_name = %s", LOCK):
            assert time.monotonic() < deadline, "a trial that was killed still has its session"
            time.sleep(0.1)

    def remove(self) -> None:
        """Take away what the loop made of this project."""
        self.sql("DROP SCHEMA {name} CASCADE; DROP TABLE IF EXISTS marts.{name}_features, staging.stg_{name}")
        if self.mlflow.search_registered_models(filter_string=f"name = '{self.name}'"):
            self.mlflow.delete_registered_model(self.name)


@pytest.fixture(scope="module")
def garden(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Garden]:
    """The project, made from its table with nothing but its name and that of the table."""
    made = Garden(f"garden_{uuid4().hex[:8]}", tmp_path_factory.mktemp("garden"), stack.env)
    made.load()
    done = made.author("new", made.name, "--from", f"{made.name}.plants")
    assert done.returncode == 0, done.stderr
    assert "target: height (guessed)" in done.stdout
    yield made
    made.remove()


def test_a_new_project_goes_through_the_loop(garden: Garden) -> None:
    checked = garden.author("check", garden.name, "--json")
    assert checked.returncode == 0, checked.stdout
    assert garden.step("transform")["models"] == 2
    released = garden.release()
    assert (released["version"], released["alias"]) == (1, "champion")
    run = garden.mlflow.get_run(released["run_id"])
    assert run.data.metrics["test_r2"] > 0.8

    garden.await_answer(1)
    rows = garden.sql("SELECT plant_id, soil, sun, water FROM {name}.plants ORDER BY plant_id LIMIT 600")
    names = ("plant_id", "soil", "sun", "water")
    answer = garden.predict([dict(zip(names, row, strict=True)) for row in rows])
    assert len(answer["predictions"]) == 600
    seen = garden.step("monitor")
    assert seen["version"] == 1
    assert seen["predictions"] > 600, "and the one that waited for the version"


def test_a_trial_takes_the_whole_loop_and_leaves_nothing(garden: Garden) -> None:
    before = garden.traces()
    directory = garden.directory / "notebooks"
    directory.mkdir()
    (directory / "look.ipynb").write_text(json.dumps(NOTEBOOK))
    done = garden.author("test", garden.name, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    parts = {part["part"]: part["said"] for part in result["parts"]}
    assert list(parts) == [
        "check", "files", "sample", "transform", "snapshot", "train", "evaluate", "register", "score", "monitor",
        "notebooks",
    ]  # fmt: skip
    assert parts["transform"] == "2 models, 3 tests"
    assert "2,400 rows" in parts["sample"] or "of 2,400 rows" in parts["sample"]
    assert garden.traces() == before


def test_a_trial_that_fails_says_so_and_leaves_nothing(garden: Garden) -> None:
    before = garden.traces()
    text = (garden.directory / "project.yaml").read_text()
    (garden.directory / "project.yaml").write_text(text.replace("learning_rate: 0.1", "learning_rate: -1.0"))
    try:
        done = garden.author("test", garden.name)
    finally:
        (garden.directory / "project.yaml").write_text(text)
    assert done.returncode == 1
    assert "Error: " in done.stderr
    assert "train: " in done.stderr
    assert "learning_rate" in done.stderr
    assert PREFIX not in done.stderr, "the scratch's name means nothing to a person"
    assert "Traceback" not in done.stderr
    assert garden.traces() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_trial_that_is_interrupted_leaves_nothing(garden: Garden, number: signal.Signals) -> None:
    before = garden.traces()
    code = _interrupted(garden, number)
    assert code not in (0, -number), "it was not the signal that ended it, but its own way out"
    assert garden.traces() == before


def test_what_a_killed_trial_left_is_removed_by_the_next(garden: Garden) -> None:
    before = garden.traces()
    _interrupted(garden, signal.SIGKILL)
    garden.await_end_of_trials()
    assert garden.traces()["schemas"], "nothing was left, so nothing is proved"
    with open_scratch(Environment.from_env(garden.variables)) as scratch:
        assert garden.traces()["schemas"] == [(scratch.name,)]
    assert garden.traces() == before


def _interrupted(garden: Garden, number: signal.Signals) -> int:
    """Begin a trial, send `number` to it and its children while dbt is at work, and return its exit code."""
    process = subprocess.Popen(
        garden.command("test", garden.name),
        env=garden.variables,
        cwd=REPO,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # what a shell starts in the background ignores it, and hands that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 (no threads here)
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "sample" in line:
            break
    os.killpg(process.pid, number)
    process.stderr.read()
    return process.wait(60)


def _cell(code: str, *tags: str, number: int) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": f"cell-{number}",
        "execution_count": None,
        "metadata": {"tags": list(tags)},
        "outputs": [],
        "source": [code],
    }


NOTEBOOK = {
    "cells": [
        _cell('project = ""', "parameters", number=0),
        _cell(
            "from pipelines.environment import Environment\n"
            "from pipelines.project import load_project\n"
            "assert load_project(Environment.from_env().repo, project).data.target == 'height'",
            number=1,
        ),
    ],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}
