"""A made-up project on a real stack: its own model and table, small enough to train in seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import psycopg
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from tests.e2e.steps import run_step
from tools.scratch import REPO

SERVED_SECONDS = 30
ROWS_A_MONTH = 1200

DECLARATION = """\
description: Will this order be returned?
data:
  connections: [shop]
  dbt_select: orders
  table: {name}.orders
  entity_key: order_id
  event_time: ordered_at
  target: is_returned
  features:
    country: category
    price: number
    items: integer
training:
  entry_point: train:build
  parameters: {{max_iter: 20}}
  split: {{test_months: 1}}
  seed: 3
  minimum_rows: 1000
evaluation:
  metric: roc_auc
  minimum: 0.6
  max_loss: 0.01
  slices: [country]
monitoring:
  minimum_predictions: 300
"""


class Shop:
    """The project, and what a test does with it."""

    def __init__(self, name: str, directory: Path, variables: dict[str, str]) -> None:
        self.name = name
        self.directory = directory / "projects" / name
        self.variables = os.environ | variables | {"PLATFORM_REPO": str(directory), "PLATFORM_ACTOR": "e2e"}
        self.variables |= {"PLATFORM_COMMIT": "0" * 40}
        os.environ.update({key: value for key, value in self.variables.items() if key.startswith("MLFLOW_")})
        self.mlflow = MlflowClient(variables["MLFLOW_TRACKING_URI"], variables["MLFLOW_TRACKING_URI"])
        self.directory.mkdir(parents=True)
        self.file = self.directory / "project.yaml"
        self.file.write_text(DECLARATION.format(name=name))
        shutil.copy(REPO / "projects/flight_delay/train.py", self.directory)

    def declare(self, old: str, new: str) -> None:
        """Change the declaration."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def call(self, step: str, *options: str) -> subprocess.CompletedProcess[str]:
        return run_step(self.variables, step, self.name, *options)

    def step(self, step: str, *options: str) -> dict[str, Any]:
        """The result of a step that works."""
        done = self.call(step, *options)
        assert done.returncode == 0, f"{step}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout.splitlines()[-1])

    def refused(self, step: str, *options: str) -> str:
        """The message of a step that fails, which is one message and no result."""
        done = self.call(step, *options)
        assert done.returncode == 1, f"{step}: {done.stdout}\n{done.stderr}"
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return done.stderr

    def release(self) -> dict[str, Any]:
        """Train, evaluate, register."""
        run_id = self.step("train")["run_id"]
        self.step("evaluate", "--run-id", run_id)
        return self.step("register", "--run-id", run_id)

    def champion(self) -> int | None:
        """The version that has the alias champion."""
        try:
            return int(self.mlflow.get_model_version_by_alias(self.name, "champion").version)
        except MlflowException:
            return None

    def run_count(self) -> int:
        experiment = self.mlflow.get_experiment_by_name(self.name)
        return len(self.mlflow.search_runs([experiment.experiment_id])) if experiment else 0

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement in the warehouse; its rows, if it has any."""
        with psycopg.connect(self.variables["WAREHOUSE_URL"]) as connection:
            cursor = connection.execute(query.replace("{name}", self.name), values)
            return cursor.fetchall() if cursor.description else []

    def load(self, month: int, *, price: float = 50.0, labelled: bool = True) -> None:
        """Put a month of orders into the table; a high price makes a return likelier."""
        random = np.random.default_rng(month)
        prices = random.normal(price, 20, ROWS_A_MONTH)
        returned = prices - price + random.normal(0, 15, ROWS_A_MONTH) > 15
        countries = random.choice(np.array(["de", "fr", "it"]), ROWS_A_MONTH)
        rows = [
            (
                f"{month}-{number}",
                f"2024-{month:02}-{1 + number % 28:02} 12:00",
                bool(returned[number]) if labelled else None,
                None if number % 50 == 0 else str(countries[number]),
                float(prices[number]),
                number % 4,
            )
            for number in range(ROWS_A_MONTH)
        ]
        with psycopg.connect(self.variables["WAREHOUSE_URL"]) as connection:
            connection.cursor().executemany(f"INSERT INTO {self.name}.orders VALUES (%s, %s, %s, %s, %s, %s)", rows)  # noqa: S608 (a name made here)

    def await_served(self, version: int, record: dict[str, Any] | None = None) -> None:
        """Wait until the model server answers `record` with `version`."""
        url = f"{self.variables['SERVING_URL']}/models/{self.name}/predict"
        headers = {"Authorization": f"Bearer {self.variables['SERVING_API_KEY']}"}
        record = record or {"country": "de", "price": 1.0, "items": 1}
        deadline = time.monotonic() + SERVED_SECONDS
        while True:
            answer = httpx.post(url, json={"records": [record]}, headers=headers, timeout=10)
            if answer.is_success and answer.json()["version"] == version:
                return
            assert time.monotonic() < deadline, f"version {version} is not served: {answer.text}"
            time.sleep(0.2)


@contextmanager
def open_shop(directory: Path, variables: dict[str, str]) -> Iterator[Shop]:
    """A shop with the orders of January to March; nothing of it is left in the stack that other tests would see."""
    shop = Shop(f"shop_{uuid4().hex[:8]}", directory, variables)
    shop.sql(
        "CREATE SCHEMA {name}; CREATE TABLE {name}.orders (order_id text, ordered_at timestamp, is_returned boolean, "
        "country text, price double precision, items integer)"
    )
    for month in (1, 2, 3):
        shop.load(month)
    yield shop
    shop.sql("DROP SCHEMA {name} CASCADE")
    try:
        shop.mlflow.delete_registered_model(shop.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
