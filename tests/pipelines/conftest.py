"""A small project and its rows, made up; a PostgreSQL for the tests that name one. No other service, no network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines.data.dataset import Snapshot
from pipelines.environment import Environment
from pipelines.project import Project, load_project
from tools.postgres import Postgres

DECLARATION = """\
description: A made-up project
data:
  connections: [shop]
  dbt_select: orders
  table: marts.orders
  entity_key: order_id
  event_time: ordered_at
  target: is_returned
  features:
    country: category
    price: number
    items: integer
training:
  entry_point: train:build
  parameters: {max_iter: 10}
  split: {test_days: 10}
  seed: 3
  minimum_rows: 100
evaluation:
  metric: roc_auc
  minimum: 0.6
  max_loss: 0.01
  slices: [country]
"""
REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    directory = tmp_path / "projects" / "shop"
    directory.mkdir(parents=True)
    (directory / "project.yaml").write_text(DECLARATION)
    shutil.copy(REPO / "projects/flight_delay/train.py", directory)
    return tmp_path


@pytest.fixture
def declare(repo: Path) -> Callable[[str, str], None]:
    """Replace a piece of the declaration."""

    def replace(old: str, new: str) -> None:
        file = repo / "projects/shop/project.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return replace


@pytest.fixture
def project(repo: Path) -> Project:
    return load_project(repo, "shop")


@pytest.fixture
def rows() -> pd.DataFrame:
    """400 orders over 40 days; a high price makes a return likelier."""
    random = np.random.default_rng(1)
    price = random.normal(50, 20, 400)
    return pd.DataFrame(
        {
            "order_id": [f"o{number}" for number in range(400)],
            "ordered_at": pd.date_range("2024-01-01", periods=400, freq="144min"),
            "is_returned": (price + random.normal(0, 15, 400) > 60).astype("int64"),
            "country": random.choice(np.array(["de", "fr", None]), 400),
            "price": price,
            "items": random.integers(1, 5, 400),
        }
    )


@pytest.fixture
def snapshot(rows: pd.DataFrame) -> Snapshot:
    return Snapshot(uri="s3://snapshots/shop/x.parquet", digest="x", rows=rows)


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The variables of a step; nothing listens at these addresses."""
    nowhere = "127.0.0.1:9"
    return {
        "PLATFORM_REPO": str(tmp_path),
        "ENVS_DIR": str(tmp_path / "envs"),
        "STEP_STATE_DIR": str(tmp_path / "state"),
        "WAREHOUSE_URL": f"postgresql://pipelines:hidden-1@{nowhere}/warehouse",
        "PREDICTIONS_URL": f"postgresql://pipelines:hidden-2@{nowhere}/serving",
        "MLFLOW_TRACKING_URI": f"http://{nowhere}",
        "MLFLOW_TRACKING_PASSWORD": "hidden-3",
        "S3_ENDPOINT_URL": f"http://{nowhere}",
        "AWS_ACCESS_KEY_ID": "hidden-4",
        "AWS_SECRET_ACCESS_KEY": "hidden-5",
        "LANDING_BUCKET": "landing",
        "SNAPSHOTS_BUCKET": "snapshots",
        "SERVING_URL": f"http://{nowhere}",
        "SERVING_API_KEY": "hidden-6",
        "PUSHGATEWAY_PASSWORD": "hidden-7",
    }


@pytest.fixture
def env(variables: dict[str, str]) -> Environment:
    return Environment.from_env(variables)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server for a module. The role `pipelines` may make schemas in the database `serving`, as in the warehouse."""
    with Postgres(Path(os.environ["PLATFORM_TEST_ENVS"])) as running:
        running.query("GRANT CREATE ON DATABASE serving TO pipelines")
        yield running
