"""A fitted model and rows to score, without a registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from contract import artifact_digest
from pipelines.batch.model import Scorer
from pipelines.batch.parts import Job, make_job
from pipelines.batch.sources import schema
from pipelines.models.model_store import MODEL_FILE
from pipelines.project import Task


def orders(count: int, first: int = 0) -> pd.DataFrame:
    """Rows as a table has them."""
    random = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "order_id": [f"o{first + number:04}" for number in range(count)],
            "country": random.choice(np.array(["de", "fr", None]), count),
            "price": random.normal(50, 20, count),
            "items": random.integers(1, 5, count),
        }
    )


def fitted(task: Task = "classification") -> Any:
    """A small model over the features of `orders`."""
    rows = orders(300)
    x = rows[["country", "price", "items"]]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = ColumnTransformer([("categories", encoder, ["country"])], remainder="passthrough")
    if task == "classification":
        return Pipeline([("columns", columns), ("trees", HistGradientBoostingClassifier(max_iter=5))]).fit(
            x, (x["price"] > 55).astype(int)
        )
    return Pipeline([("columns", columns), ("trees", HistGradientBoostingRegressor(max_iter=5))]).fit(x, x["price"] * 2)


def scorer_in(directory: Path, model: Any, task: Task = "classification", version: int = 3) -> Scorer:
    """The model as a version that was downloaded to `directory`/model."""
    (directory / "model").mkdir(parents=True)
    skops.io.dump(model, directory / "model" / MODEL_FILE)
    return Scorer(
        name="shop",
        version=version,
        digest=artifact_digest(directory / "model"),
        task=task,
        entity_key="order_id",
        features={"country": "category", "price": "number", "items": "integer"},
        required=("price", "items"),
    )


def as_batches(rows: pd.DataFrame, scorer: Scorer, sizes: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """The rows in batches of these sizes, in turn."""
    table = pa.Table.from_pandas(rows, schema=schema(scorer), preserve_index=False).combine_chunks()
    start, turn = 0, 0
    while start < table.num_rows:
        size = sizes[turn % len(sizes)]
        yield from table.slice(start, size).to_batches()
        start, turn = start + size, turn + 1


def made_job(
    directory: Path, rows: pd.DataFrame, part_rows: int, task: Task = "classification", version: int = 3
) -> Job:
    """A job over `rows` of which nothing is done."""
    scorer = scorer_in(directory, fitted(task), task, version)
    return make_job(directory, scorer, as_batches(rows, scorer, [70]), part_rows, "orders")
