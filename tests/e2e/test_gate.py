"""The gate on a real stack: every rule, what a refusal leaves, and the card of each version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from contract import GATE_TAG, SIGNATURE_CHANGE_TAG
from tests.e2e.shop import Shop, open_shop
from tools.scratch import Stack

LAST_RULE = "  slices: [country]\n"


@pytest.fixture(scope="module")
def trading(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose version 1 is champion, for the tests that leave it so."""
    with open_shop(tmp_path_factory.mktemp("trading"), stack.env) as opened:
        opened.release()
        yield opened


@pytest.fixture
def released(trading: Shop) -> Iterator[Shop]:
    """The shop `trading`, its declaration and its rows as they were when version 1 was made."""
    text = trading.file.read_text()
    trading.sql("CREATE TABLE {name}.kept AS TABLE {name}.orders")
    yield trading
    trading.file.write_text(text)
    trading.sql("TRUNCATE {name}.orders; INSERT INTO {name}.orders SELECT * FROM {name}.kept; DROP TABLE {name}.kept")


def verdict_row(shop: Shop, run_id: str) -> tuple[bool, list[str], dict[str, Any], int | None, str]:
    ((passed, reasons, figures, champion, actor),) = shop.sql(
        "SELECT passed, reasons, figures, champion, actor FROM gates.verdicts WHERE project = '{name}' AND run_id = %s",
        run_id,
    )
    return passed, reasons, figures, champion, actor


def card_of(shop: Shop, run_id: str) -> str:
    return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="card.md")).read_text()


def test_the_first_version_is_judged_by_itself_and_has_a_card(trading: Shop) -> None:
    version = trading.mlflow.get_model_version(trading.name, "1")
    assert version.run_id is not None
    passed, reasons, figures, champion, actor = verdict_row(trading, version.run_id)
    assert (passed, reasons, champion, actor) == (True, [], None, "e2e")
    found = figures["metrics"]["roc_auc"]["candidate"]
    assert found["low"] < found["value"] < found["high"]
    run = trading.mlflow.get_run(version.run_id)
    assert found["value"] == pytest.approx(run.data.metrics["test_roc_auc"], abs=1e-9)
    assert {part["value"] for part in figures["slices"]} == {"(missing)", "de", "fr", "it"}
    card = card_of(trading, version.run_id)
    for told in (
        f"# {trading.name}, version 1",
        "Gate: passed.",
        f"roc_auc {found['value']:.4f} [{found['low']:.4f}, {found['high']:.4f}] on 2024-03-01 to 2024-03-28",
        "| country = de |",
        "Not measured, fewer than 200 test rows: country = (missing) (24).",
        "| train | 2024-01-01 to 2024-02-28 | 2400 |",
        run.data.tags["platform.snapshot"],
        version.run_id,
    ):
        assert told in card
    assert version.description is not None
    assert version.description.startswith(f"# {trading.name}, version 1")
    assert "artifacts/card.md)" in version.description


def test_the_steps_are_children_of_one_pipeline_run(trading: Shop) -> None:
    version = trading.mlflow.get_model_version(trading.name, "1")
    experiment = trading.mlflow.get_experiment_by_name(trading.name)
    assert experiment is not None
    about = f"tags.`platform.training_run` = '{version.run_id}'"
    runs = {
        run.data.tags["platform.step"]: run for run in trading.mlflow.search_runs([experiment.experiment_id], about)
    }
    assert set(runs) == {"evaluate", "register"}
    for run in runs.values():
        assert run.info.status == "FINISHED"
        parent = trading.mlflow.get_run(run.data.tags["mlflow.parentRunId"])
        assert parent.data.tags["platform.step"] == "pipeline"
    figures = runs["evaluate"].data.metrics
    assert figures["candidate_roc_auc_low"] < figures["candidate_roc_auc"] < figures["candidate_roc_auc_high"]
    assert figures["latency_ms"] > 0


def test_every_rule_that_is_broken_is_named_and_nothing_else_changes(released: Shop) -> None:
    released.declare("minimum: 0.6", "minimum: 0.999")
    released.declare("max_iter: 20", "max_iter: 1, max_leaf_nodes: 2")
    rules = "max_calibration_error: 0.0001\n  max_latency_ms: 0.001\n  missing_values: {share: 0.5, max_loss: 0.0}\n"
    released.declare(LAST_RULE, f"{LAST_RULE}  {rules}")
    run_id = released.step("train")["run_id"]
    done = released.call("evaluate", "--run-id", run_id)
    assert done.returncode == 0, "a refusal is an answer, not a failure"
    result = json.loads(done.stdout.splitlines()[-1])
    named = ("does not reach 0.999", "than the champion's", "calibration error", "latency", "missing values: with 50%")
    for told in (result["gate"], done.stderr, "; ".join(verdict_row(released, run_id)[1])):
        assert [name for name in named if name not in told] == []
    assert len(result["reasons"]) == len(named)
    assert verdict_row(released, run_id)[3] == 1
    refused = released.step("register", "--run-id", run_id)
    version = released.mlflow.get_model_version(released.name, str(refused["version"]))
    assert version.tags[GATE_TAG].startswith("refused: roc_auc")
    assert version.aliases == []
    assert "Gate: refused: roc_auc" in card_of(released, run_id)
    assert released.champion() == 1


def test_a_slice_that_is_worse_beyond_doubt_refuses(released: Shop) -> None:
    released.declare("max_loss: 0.01", "max_loss: 1.0\n  slice_max_loss: 0.1")
    released.declare("minimum: 0.6", "minimum: 0.0")
    released.sql(
        "UPDATE {name}.orders SET is_returned = NOT is_returned WHERE country = 'de' AND ordered_at < '2024-03-01'"
    )
    released.step("train")
    result = released.step("evaluate")
    (reason,) = result["reasons"]
    assert reason.startswith("slice country = de: roc_auc is ")
    assert "(allowed: 0.1)" in reason


def test_a_schema_that_got_stricter_by_chance_is_refused_until_it_is_allowed(released: Shop) -> None:
    released.sql("UPDATE {name}.orders SET country = 'it' WHERE country IS NULL")
    run_id = released.step("train")["run_id"]
    (reason,) = released.step("evaluate", "--run-id", run_id)["reasons"]
    assert reason.startswith("schema: country may be missing for the champion and is required by the candidate")
    released.mlflow.set_tag(run_id, SIGNATURE_CHANGE_TAG, "allowed")
    allowed = released.step("evaluate", "--run-id", run_id)
    assert allowed["passed"]
    assert any("country may be missing" in note for note in allowed["notes"])


def test_a_candidate_that_the_declaration_left_behind_is_not_judged(released: Shop) -> None:
    run_id = released.mlflow.get_model_version(released.name, "1").run_id
    released.declare("    items: integer\n", "")
    told = released.refused("evaluate", "--run-id", str(run_id))
    assert "its input items is not declared" in told
    assert "train again" in told


def test_a_dropped_feature_is_named_and_blocks_nothing(trading: Shop) -> None:
    """The last one: version 1 is not the champion any more."""
    trading.declare("    items: integer\n", "")
    run_id = trading.step("train")["run_id"]
    verdict = trading.step("evaluate", "--run-id", run_id)
    assert (verdict["passed"], verdict["champion"], verdict["champion_version"]) == (True, None, 1)
    assert verdict["notes"] == [
        "not compared with version 1, the champion: it needs items, no longer declared",
        "callers of version 1, the champion, will notice: the feature items was dropped",
    ]
    made = trading.step("register", "--run-id", run_id)
    assert (made["alias"], trading.champion()) == ("champion", made["version"])
    assert trading.mlflow.get_model_version(trading.name, str(made["version"])).tags[SIGNATURE_CHANGE_TAG] == "allowed"
    assert "the feature items was dropped" in card_of(trading, run_id)
    trading.await_served(made["version"], {"country": "de", "price": 1.0})
