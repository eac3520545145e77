"""What starts a training and what holds it back, on a real stack; and poisoned data, which changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.shop import Shop, open_shop
from tools.scratch import Stack

SKIPPED = 99
TRIGGERS = """
triggers:
  on_new_data: false
  on_drift: true
  on_performance_loss: true
  cool_down: 1h
  max_per_day: 2
"""
CANARY = """
release:
  strategy: canary
  steps: [{share: 50, requests: 100000}]
"""


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path, stack.env) as opened:
        opened.file.write_text(opened.file.read_text() + TRIGGERS)
        yield opened


@pytest.fixture(scope="module")
def trading(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop whose version 1 is champion and serves, for the tests that leave it so."""
    with open_shop(tmp_path_factory.mktemp("trading"), stack.env) as opened:
        opened.await_served(opened.release()["version"])
        yield opened


@pytest.fixture
def poisoned(trading: Shop) -> Iterator[Shop]:
    """The shop `trading` with the orders of April, which the test spoils; afterwards it is as it was."""
    text = trading.file.read_text()
    trading.load(4)
    yield trading
    trading.file.write_text(text)
    trading.sql("DELETE FROM {name}.orders WHERE order_id LIKE '4-%%'")


def decide(shop: Shop, *options: str) -> tuple[bool, str]:
    """Whether a training begins, and the reason, which is also the newest row of the decisions."""
    done = shop.call("decide", *options)
    assert done.returncode in (0, SKIPPED), done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["train"] == (done.returncode == 0)
    ((number, train, reason, actor),) = shop.sql(
        "SELECT id, train, reason, actor FROM triggers.decisions WHERE project = '{name}' ORDER BY id DESC LIMIT 1"
    )
    assert (number, train, reason, actor) == (result["decision"], result["train"], result["reason"], "e2e")
    return train, reason


def due(shop: Shop, findings: dict[str, Any]) -> dict[str, Any] | None:
    """What is due after these findings of the monitor; None if nothing is."""
    done = shop.call("due", "--findings", json.dumps(findings))
    assert done.returncode in (0, SKIPPED), done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def test_each_decision_follows_the_guards_and_is_kept(shop: Shop) -> None:
    train, reason = decide(shop, "--trigger", "new_data")
    assert train
    assert "no champion yet" in reason
    assert shop.release()["alias"] == "champion"

    for trigger, told in (
        ("new_data", "triggers.on_new_data"),
        ("drift", "cool-down"),
        ("schedule", "triggers.schedule"),
    ):
        train, reason = decide(shop, "--trigger", trigger)
        assert not train
        assert told in reason
    assert decide(shop) == (True, "asked for")

    shop.declare("cool_down: 1h", "cool_down: 0s")
    train, reason = decide(shop, "--trigger", "drift")
    assert not train
    assert "2 trainings began in the last 24 hours" in reason

    shop.file.write_text(shop.file.read_text() + CANARY)
    shop.load(4)
    assert shop.release()["alias"] == "canary"
    train, reason = decide(shop)
    assert not train
    assert "version 2 is being released" in reason
    assert decide(shop, "--force")[0]


def test_a_task_that_is_tried_again_keeps_its_decision(shop: Shop) -> None:
    shop.variables["PLATFORM_PIPELINE_RUN"] = f"airflow:{shop.name}__train/one"
    first = shop.step("decide", "--trigger", "new_data")
    again = shop.step("decide", "--trigger", "new_data")
    assert again["train"]
    assert again["decision"] == first["decision"]


def test_drift_and_a_loss_ask_for_a_training_once_and_flipped_labels_do_not_pass(shop: Shop) -> None:
    shop.await_served(shop.release()["version"])
    shop.load(7, price=120.0, labelled=False)
    shop.step("replay", "--month", "7", "--rows", "600")
    found = shop.step("monitor")
    assert (found["drift"], found["lost_performance"]) == (True, False)
    asked = due(shop, found)
    assert asked is not None
    assert asked["trigger"] == "drift"
    decide(shop, "--trigger", "drift", "--evidence", json.dumps(asked["evidence"]))
    assert due(shop, shop.step("monitor")) is None
    ((reason,),) = shop.sql(
        "SELECT reason FROM triggers.decisions WHERE project = '{name}' AND NOT train ORDER BY id DESC LIMIT 1"
    )
    assert "nothing new was seen" in reason

    # The outcomes arrive, and they are poisoned: what is cheap comes back, what is dear does not.
    shop.sql("UPDATE {name}.orders SET is_returned = price < 105 WHERE order_id LIKE '7-%%'")
    flipped = shop.step("monitor")
    assert flipped["lost_performance"] is True
    asked = due(shop, flipped)
    assert asked is not None
    assert asked["trigger"] == "performance"
    refused_by_the_gate(shop, "roc_auc")


def refused_by_the_gate(shop: Shop, told: str) -> None:
    """A training now makes a candidate that the gate refuses for the reason `told`; version 1 goes on serving."""
    result = shop.release()
    assert not result["passed"]
    assert told in result["gate"]
    assert (result["alias"], shop.champion()) == (None, 1)
    shop.await_served(1)


def test_a_month_in_other_units_is_found_by_the_monitor_and_refused_by_the_gate(poisoned: Shop) -> None:
    poisoned.sql("UPDATE {name}.orders SET price = price * 100 WHERE order_id LIKE '4-%%'")
    poisoned.step("replay", "--month", "4", "--rows", "600")
    found = poisoned.step("monitor")
    assert found["drift"] is True
    assert "price" in found["drifted"]
    assert found["lost_performance"] is True
    refused_by_the_gate(poisoned, "does not reach 0.6")


def test_a_month_with_half_its_values_missing_is_refused_by_the_server_and_by_the_gate(poisoned: Shop) -> None:
    poisoned.declare("minimum: 0.6", "minimum: 0.8")
    poisoned.sql("UPDATE {name}.orders SET price = NULL WHERE order_id LIKE '4-%%' AND items < 2")
    told = poisoned.refused("replay", "--month", "4", "--rows", "600")
    assert "field 'price': expected a finite number, got null" in told
    refused_by_the_gate(poisoned, "does not reach 0.8")
