"""The record of what ran, without a warehouse: what is compared, shown and found in it."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from pipelines.environment import Environment
from pipelines.errors import StepError
from pipelines.lineage import runs, show_runs
from pipelines.lineage.history import LINKS, sources
from pipelines.lineage.show_trace import screen
from pipelines.lineage.trace import Trace

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PREDICTION = {
    "prediction_id": "018f3333-0000-7000-8000-000000000000",
    "created_at": NOON,
    "model": "shop",
    "version": 3,
    "role": "champion",
    "entity_key": "order-7",
    "prediction": 1,
    "probability": 0.75,
    "latency_ms": 1.25,
    "caller": "till",
    "request_id": None,
    "shadows": [{"role": "shadow", "version": 4, "prediction": 0, "probability": 0.25}],
}
WHOLE: dict[str, Any] = {
    "prediction": PREDICTION,
    "model": {
        "name": "shop",
        "version": 3,
        "url": "http://mlflow/#/models/shop/versions/3",
        "aliases": ["champion"],
        "gate": "passed",
        "registered_at": NOON,
        "registered_by": "airflow:shop__train/r1",
        "digest": "d" * 64,
        "run_id": "r" * 32,
    },
    "run": {
        "run_id": "r" * 32,
        "url": "http://mlflow/#/experiments/1/runs/r",
        "pipeline_run": "airflow:shop__train/r1",
        "started_at": NOON,
        "started_by": "airflow:shop__train/r1",
        "train_from": "2024-01-01T00:00:00",
        "train_to": "2024-03-31T00:00:00",
        "metrics": {"test_roc_auc": 0.8123},
    },
    "code": {"commit": "c" * 40, "clean": True, "subject": "Prices in cents", "project_digest": "e" * 64},
    "snapshot": {
        "uri": "s3://snapshots/shop/x.parquet",
        "rows": 3600,
        "from": "2024-01-01",
        "to": "2024-03-31",
        "taken_at": NOON,
    },
    "dbt_run": {
        "invocation_id": "i-1",
        "pipeline_run": "airflow:shop__ingest/r0",
        "started_at": NOON,
        "ended_at": NOON,
        "dbt_version": "1.11.16",
        "table": "marts.orders",
        "inputs": ["staging.stg_orders"],
        "models": 2,
        "tests": {"pass": 9},
    },
    "sync": [
        {
            "connection": "shop",
            "connector": "source-s3 4.14.2",
            "pipeline_run": "airflow:shop__ingest/r0",
            "started_at": NOON,
            "ended_at": NOON,
            "streams": {"raw.orders": 1200},
        }
    ],
    "files": [
        {"uri": f"s3://landing/shop/{month}.csv", "rows": 100 * month, "synced_at": NOON + timedelta(days=month)}
        for month in range(1, 8)
    ],
    "notes": {},
    "missing": [],
    "complete": True,
}


def text_of(table: Any) -> str:
    written = io.StringIO()
    Console(file=written, width=200, highlight=False).print(table)
    return written.getvalue()


def test_a_trace_fills_one_screen_from_the_prediction_to_the_files() -> None:
    text = text_of(screen(WHOLE))
    places = [text.index(word) for word in ("018f3333", "shop version 3", "rrrr", "cccc", "s3://snapshots", "i-1")]
    assert places == sorted(places)
    for word in ("order-7", "0.7500", "shadow version 4", "now champion", "roc_auc 0.8123", "Prices in cents"):
        assert word in text, word
    for word in ("3600 rows", "marts.orders from staging.stg_orders", "9 pass", "1200 rows into raw.orders"):
        assert word in text, word
    assert "s3://landing/shop/7.csv (700 rows)" in text
    assert "… and 3 more (2800 rows in all)" in text
    assert len(text.splitlines()) <= 24


def test_a_trace_says_what_is_missing_and_tells_the_rest() -> None:
    partly = WHOLE | dict.fromkeys(LINKS[1:]) | {"files": None}
    partly |= {"missing": ["model"], "notes": {"model": "it was [deleted]", "sync": "the project loads nothing"}}
    text = text_of(screen(partly))
    assert "missing: it was [deleted]" in text
    assert "none: the project loads nothing" in text
    assert "order-7" in text


def test_a_snapshot_that_only_its_name_is_known_of_is_named() -> None:
    bare = WHOLE["snapshot"] | {"rows": None, "from": None, "to": None, "taken_at": None}
    assert "s3://snapshots/shop/x.parquet" in text_of(screen(WHOLE | {"snapshot": bare}))


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("42", id="no UUID"),
        pytest.param("5f0c0a52-9f2e-4d0c-8a51-6a4b7d1e2f30", id="a UUID of version 4"),
        pytest.param("ffffffff-ffff-7000-8000-000000000000", id="made in the year 10889"),
    ],
)
def test_what_is_no_prediction_id_is_told(env: Environment, given: str) -> None:
    with pytest.raises(StepError, match=f"'{given}' is not the id of a prediction"):
        Trace(env, given)


def test_the_sources_of_a_table_are_what_no_model_builds() -> None:
    built = {"marts.x": ["staging.a", "staging.b"], "staging.a": ["raw.a"], "staging.b": ["raw.b", "staging.a"]}
    built |= {"marts.other": ["raw.c"], "staging.loop": ["staging.loop", "raw.d"]}
    assert sources("marts.x", built) == {"raw.a", "raw.b"}
    assert sources("staging.loop", built) == {"raw.d"}
    assert sources("public.orders", built) == {"public.orders"}


def step(name: str, **facts: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {"state": "done", "started_at": NOON, "ended_at": NOON, "seconds": 1.5, "attempts": 1}
    blank |= {"actor": "ann@shell", "parameters": {}, "result": {}, "error": None, "artifacts": []}
    return {"step": name, **blank, **facts}


def pipeline_run(run_id: str, *steps: dict[str, Any], **facts: Any) -> dict[str, Any]:
    blank: dict[str, Any] = {"project": "shop", "state": "done", "trigger": "shell", "actor": "ann@shell"}
    blank |= {"commit": "c" * 40, "started_at": NOON, "ended_at": NOON, "seconds": 3.0, "started_from": 2}
    blank |= {"versions": {"python": "3.11.2"}, "mlflow_run_id": None, "dbt_runs": []}
    return {"id": run_id, "steps": list(steps), **blank, **facts}


def test_two_runs_differ_in_code_parameters_figures_and_steps() -> None:
    first = pipeline_run("a/1", step("train", parameters={"reuse": False}, result={"metrics": {"test_roc_auc": 0.8}}))
    second = pipeline_run(
        "a/2",
        step(
            "train",
            parameters={"reuse": False},
            result={"metrics": {"test_roc_auc": 0.7}, "seconds": 9.0, "run_id": "r"},
        ),
        step("evaluate", state="failed", error="no champion"),
        commit="d" * 40,
        versions={"python": "3.11.2", "pandas": "2.3.3"},
    )
    found = runs.differences(runs.facts_of(first), runs.facts_of(second))
    assert found["commit"] == ("c" * 40, "d" * 40)
    assert found["train.result.metrics.test_roc_auc"] == (0.8, 0.7)
    assert found["evaluate.state"] == (None, "failed")
    assert found["versions.pandas"] == (None, "2.3.3")
    assert not {"train.parameters.reuse", "versions.python", "train.result.seconds", "train.result.run_id"} & set(found)
    text = text_of(show_runs.run_comparison({"first": first, "second": second, "differences": found}))
    assert "train.result.metrics.test_roc_auc  0.8" in text


def test_the_artifacts_of_a_step_are_the_addresses_in_its_parameters_and_result(env: Environment) -> None:
    given = {"snapshot": "s3://snapshots/shop/x.parquet", "reuse": True}
    made = {
        "run_id": "r1",
        "model": "shop",
        "version": 4,
        "card": {"url": "http://mlflow/card.md"},
        "gate": "see a://b",
    }
    assert runs.artifacts(env, given, made) == [
        "s3://snapshots/shop/x.parquet",
        "http://mlflow/card.md",
        "runs:/r1",
        f"{env.mlflow_uri}/#/models/shop/versions/4",
    ]
    assert runs.artifacts(env, given, None) == ["s3://snapshots/shop/x.parquet"]


def test_a_run_is_shown_with_its_steps_dbt_and_failure() -> None:
    dbt = {"state": "failed", "started_at": NOON, "ended_at": NOON, "tests": {"fail": 1}, "models": [{}]}
    shown = pipeline_run(
        "airflow:shop__ingest/r1",
        step("sync", attempts=3, parameters={"check_source": False, "month": 3}),
        step("decide", result={"reason": "new rows are in the mart"}),
        step("train", state="failed", error="the fit [stopped]\n  → mend it", seconds=None),
        dbt_runs=[dbt],
        state="failed",
    )
    text = text_of(show_runs.run_description(shown))
    for word in (
        "done (3 times)",
        "month=3",
        "the fit [stopped]",
        "1 models; tests: 1 fail",
        "new rows are in the mart",
    ):
        assert word in text, word
    assert "check_source" not in text
    listed = text_of(show_runs.run_list([{**shown, "steps": [{"step": "sync", "state": "running"}]}]))
    assert "cccccccc" in listed
    assert "airflow:shop__ingest/r1" in listed
