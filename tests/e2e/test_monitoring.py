"""Replay and monitor on a real stack: train on winter, score summer, learn the truth later."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

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
    assert winter["lost_performance"] is False
    _is_within(winter["performance"]["roc_auc"], winter["performance_interval"]["roc_auc"])
    assert winter["estimated"]["roc_auc"] == pytest.approx(winter["performance"]["roc_auc"], abs=0.06)
    assert _reports(winter) == {"columns.csv"}, "Evidently has nothing to explain"
    _its_baseline_is_made_again(shop, winter)

    shop.load(7, price=120.0, labelled=False)
    assert shop.step("replay", "--month", "7", "--rows", "600")["sent"] == 600
    summer = shop.step("monitor", "--window", "600")
    assert summer["drift"] is True
    assert {"price", "predicted_probability"} <= set(summer["drifted"])
    assert "country" not in summer["drifted"]
    assert (summer["labelled"], summer["performance"], summer["lost_performance"]) == (0, None, False)
    assert 0.5 <= summer["estimated"]["roc_auc"] <= 1

    shop.sql("UPDATE {name}.orders SET is_returned = price > 140 WHERE order_id LIKE '7-%%'")
    later = shop.step("monitor", "--window", "600")
    assert later["labelled"] == 600
    assert later["performance"]["roc_auc"] < winter["performance"]["roc_auc"]
    assert later["lost_performance"] is True
    _is_kept(shop, later)


def _is_kept(shop: Shop, result: dict[str, object]) -> None:
    """The reports and figures are where people and Prometheus look."""
    tags = shop.mlflow.get_model_version(shop.name, "1").tags
    run_id = tags["platform.monitoring_run"]
    assert run_id in str(result["report_url"])
    assert tags["platform.monitoring_report"] == result["report_url"]
    run = shop.mlflow.get_run(run_id)
    assert run.data.tags["platform.model_version"] == f"{shop.name}/1"
    assert run.data.metrics["drift_share"] == result["drift_share"]
    assert run.data.metrics["lost_performance"] == 1
    assert _reports(result) == {"columns.csv", "drift.html", "data_quality.html"}
    [row] = shop.sql(
        "SELECT drift_share, drifted, lost_performance, performance_interval FROM monitoring.runs WHERE run_id = %s",
        run_id,
    )
    kept = ("drift_share", "drifted", "lost_performance", "performance_interval")
    assert row == tuple(result[name] for name in kept)
    names = {row[0] for row in shop.sql("SELECT DISTINCT figure FROM monitoring.figures WHERE run_id = %s", run_id)}
    assert {"feature_drift", "feature_outside_share", "performance_low", "estimated_loss", "latency_ms"} <= names


def _is_within(value: float, bounds: list[float]) -> None:
    low, high = bounds
    assert low < value < high


def _reports(result: dict[str, Any]) -> set[str]:
    run_id = str(result["report_url"]).split("/runs/")[1].split("/")[0]
    reports = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="reports"))
    return {path.name for path in reports.iterdir()}


def _its_baseline_is_made_again(shop: Shop, before: dict[str, Any]) -> None:
    """A version from before baselines were kept gets one at its first look; Evidently writes when it is asked to."""
    run = shop.mlflow.get_run(shop.mlflow.get_model_version(shop.name, "1").run_id)
    kept = {item.path for item in shop.mlflow.list_artifacts(run.info.run_id, "monitoring")}
    assert kept == {"monitoring/baseline.json", "monitoring/calibration.json"}
    get_artifact_repository(run.info.artifact_uri).delete_artifacts("monitoring")
    again = shop.step("monitor", "--window", "600", "--report")
    assert {item.path for item in shop.mlflow.list_artifacts(run.info.run_id, "monitoring")} == kept
    assert (again["drift_share"], again["estimated"]) == (before["drift_share"], before["estimated"])
    assert _reports(again) == {"columns.csv", "drift.html", "data_quality.html"}


def test_what_cannot_be_replayed_is_told(shop: Shop) -> None:
    assert "has no rows of month 12" in shop.refused("replay", "--month", "12")
    told = shop.refused("replay", "--month", "3")
    assert "the model server answered" in told
    assert shop.name in told
