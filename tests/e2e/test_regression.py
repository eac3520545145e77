"""A project that predicts a value, with a search: trained, released and served on a real stack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import pytest

from contract import SNAPSHOT_TAG
from pipelines.project import METRICS
from tests.e2e.shop import Shop, open_shop
from tools.scratch import Stack

TREES = """
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

def build(parameters, features, seed):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = make_column_transformer((encoder, ["country"]), remainder="passthrough")
    return make_pipeline(columns, HistGradientBoostingRegressor(random_state=seed, **parameters))
"""
SEARCH = "{trials: 3, space: {max_leaf_nodes: {low: 3, high: 31}}}"


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, stack.env) as opened:
        yield opened


def test_a_regression_with_a_search_is_trained_released_and_served(shop: Shop) -> None:
    shop.sql(
        "ALTER TABLE {name}.orders ADD COLUMN amount double precision; UPDATE {name}.orders SET amount = price * 2"
    )
    (shop.directory / "train.py").write_text(TREES)
    shop.declare("description:", "task: regression\ndescription:")
    shop.declare("target: is_returned", "target: amount")
    shop.declare("metric: roc_auc\n  minimum: 0.6\n  max_loss: 0.01", "metric: rmse\n  minimum: 20\n  max_loss: 1")
    shop.declare("  seed: 3", f"  seed: 3\n  search: {SEARCH}")
    released = shop.release()
    assert (released["passed"], released["alias"]) == (True, "champion")

    run = shop.mlflow.get_run(released["run_id"])
    below = shop.mlflow.search_runs(
        [run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'", order_by=["start_time"]
    )
    assert [child.data.tags["platform.step"] for child in below] == ["trial"] * 3
    values = [child.data.metrics["validation_rmse"] for child in below]
    best = below[values.index(min(values))]
    assert run.data.params["max_leaf_nodes"] == best.data.params["max_leaf_nodes"]
    assert run.data.metrics["search_best_value"] == min(values)
    above = shop.mlflow.get_run(run.data.tags["mlflow.parentRunId"])
    assert above.data.tags["platform.step"] == "pipeline"
    assert set(METRICS["regression"]) <= {name.removeprefix("test_") for name in run.data.metrics}
    files = {path.name for path in Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id)).rglob("*.*")}
    assert {"predicted.png", "residuals.png", "slice_country.png", "search.csv", "baseline.json"} <= files
    model = mlflow.models.get_model_info(f"models:/{run.data.tags['platform.model_id']}")
    assert model.signature is not None
    assert [kind.name for kind in model.signature.outputs.input_types()] == ["double"]

    shop.await_served(1)
    url = f"{shop.variables['SERVING_URL']}/models/{shop.name}/predict"
    headers = {"Authorization": f"Bearer {shop.variables['SERVING_API_KEY']}"}
    records = [{"country": "de", "price": 50.0, "items": 1}, {"country": None, "price": 60.0, "items": 2}]
    answer = httpx.post(url, json={"records": records}, headers=headers, timeout=10).raise_for_status().json()
    assert [item["prediction"] for item in answer["predictions"]] == pytest.approx([100, 120], abs=20)

    again = shop.step("train", "--snapshot", run.data.tags[SNAPSHOT_TAG])
    assert again["metrics"] == run.data.metrics
