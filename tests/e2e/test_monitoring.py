"""Replay and monitor on a real stack: train on winter, score summer, learn the truth later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from tests.e2e.shop import Shop, open_shop
from tools.scratch import Stack


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, stack.env) as opened:
        yield opened


def test_summer_drifts_and_performance_follows_the_labels(shop: Shop) -> None:
    nothing = shop.step("monitor")
    assert "no champion yet" in nothing["message"]
    shop.await_served(shop.release()["version"])

    few = shop.step("monitor")
    assert "not enough predictions by version 1" in few["message"]
    assert (few["drift"], few["report_url"]) == (None, None)

    assert shop.step("replay", "--month", "3", "--rows", "600")["predictions"] == 600
    winter = shop.step("monitor", "--window", "600")
    assert (winter["drift"], winter["drifted"], winter["labelled"]) == (False, [], 600)

    shop.load(7, price=120.0, labelled=False)
    assert shop.step("replay", "--month", "7", "--rows", "600")["sent"] == 600
    summer = shop.step("monitor", "--window", "600")
    assert summer["drift"] is True
    assert {"price", "predicted_probability"} <= set(summer["drifted"])
    assert "country" not in summer["drifted"]
    assert (summer["labelled"], summer["performance"]) == (0, None)

    shop.sql("UPDATE {name}.orders SET is_returned = price > 140 WHERE order_id LIKE '7-%%'")
    later = shop.step("monitor", "--window", "600")
    assert later["labelled"] == 600
    assert later["performance"]["roc_auc"] < winter["performance"]["roc_auc"]
    _is_kept(shop, later)


def _is_kept(shop: Shop, result: dict[str, object]) -> None:
    """The reports and figures are where people and Prometheus look."""
    run_id = shop.mlflow.get_model_version(shop.name, "1").tags["platform.monitoring_run"]
    assert run_id in str(result["report_url"])
    run = shop.mlflow.get_run(run_id)
    assert run.data.tags["platform.model_version"] == f"{shop.name}/1"
    assert run.data.metrics["drift_share"] == result["drift_share"]
    reports = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="reports"))
    assert {path.name for path in reports.iterdir()} == {"drift.html", "data_quality.html"}
    [(share, drifted)] = shop.sql("SELECT drift_share, drifted FROM monitoring.runs WHERE run_id = %s", run_id)
    assert (share, drifted) == (result["drift_share"], result["drifted"])
    names = {row[0] for row in shop.sql("SELECT DISTINCT figure FROM monitoring.figures WHERE run_id = %s", run_id)}
    assert names == {"feature_drift", "feature_missing_share", "performance", "performance_at_training"}


def test_what_cannot_be_replayed_is_told(shop: Shop) -> None:
    assert "has no rows of month 12" in shop.refused("replay", "--month", "12")
    told = shop.refused("replay", "--month", "3")
    assert "the model server answered" in told
    assert shop.name in told
