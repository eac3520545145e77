from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.project import Triggers
from pipelines.triggers.due import judge
from pipelines.triggers.guards import TRIGGERS, Begun, Situation, Trigger, decide

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
ALL = Triggers(on_new_data=True, on_drift=True, on_performance_loss=True, schedule="@daily")
NONE = Triggers(on_new_data=False)


def ago(hours: float, trigger: Trigger = "new_data") -> Begun:
    return Begun(NOW - timedelta(hours=hours), trigger)


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_declared_trigger_starts_a_training_and_says_why(trigger: Trigger) -> None:
    decision = decide(ALL, trigger, Situation(NOW, champion=1))
    assert decision.train
    assert decision.reason


@pytest.mark.parametrize(
    ("trigger", "key"),
    [
        ("schedule", "triggers.schedule"),
        ("new_data", "triggers.on_new_data"),
        ("drift", "triggers.on_drift"),
        ("performance", "triggers.on_performance_loss"),
    ],
)
def test_a_trigger_that_is_not_declared_starts_none_and_its_key_is_named(trigger: Trigger, key: str) -> None:
    decision = decide(NONE, trigger, Situation(NOW, champion=1))
    assert not decision.train
    assert key in decision.reason


def test_a_person_may_always_ask() -> None:
    assert decide(NONE, "demand", Situation(NOW, champion=1)).train


def test_the_first_data_trains_the_first_model_whatever_is_declared() -> None:
    decision = decide(NONE, "new_data", Situation(NOW))
    assert decision.train
    assert "no champion yet" in decision.reason


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_running_release_holds_everything_back(trigger: Trigger) -> None:
    decision = decide(ALL, trigger, Situation(NOW, champion=1, releasing=2))
    assert not decision.train
    assert "version 2 is being released" in decision.reason
    assert decide(ALL, trigger, Situation(NOW, champion=1, releasing=2), force=True).train


def test_the_cool_down_counts_from_the_last_training_that_nobody_asked_for() -> None:
    rules = ALL.model_copy(update={"cool_down": "2h"})
    early = decide(rules, "drift", Situation(NOW, 1, begun=[ago(1.9), ago(30)]))
    assert not early.train
    assert "cool-down" in early.reason
    assert "2024-05-01 10:06:00" in early.reason
    assert decide(rules, "drift", Situation(NOW, 1, begun=[ago(2.0), ago(30)])).train
    assert decide(rules, "drift", Situation(NOW, 1, begun=[ago(0.1, "demand")])).train
    assert decide(rules, "demand", Situation(NOW, 1, begun=[ago(1.9)])).train


def test_a_cool_down_of_days_sees_a_training_of_days_ago() -> None:
    rules = ALL.model_copy(update={"cool_down": "7d"})
    assert not decide(rules, "drift", Situation(NOW, 1, begun=[ago(6 * 24)])).train
    assert decide(rules, "drift", Situation(NOW, 1, begun=[ago(7 * 24)])).train


def test_only_so_many_a_day() -> None:
    rules = ALL.model_copy(update={"max_per_day": 2})
    full = Situation(NOW, 1, begun=[ago(1, "demand"), ago(23.9)])
    decision = decide(rules, "performance", full)
    assert not decision.train
    assert "2 trainings began in the last 24 hours" in decision.reason
    assert decide(rules, "demand", full).train
    assert decide(rules, "performance", Situation(NOW, 1, begun=[ago(1), ago(24)])).train


EVIDENCE: dict[str, Any] = {"version": 3, "predictions": 600, "labelled": 0, "window_to": "2024-05-01T12:00:00+00:00"}


def test_a_finding_asks_for_a_training_once() -> None:
    assert judge(ALL, "drift", EVIDENCE, None).train
    again = judge(ALL, "drift", EVIDENCE, EVIDENCE | {"drift_share": 0.5})
    assert not again.train
    assert "nothing new was seen" in again.reason


@pytest.mark.parametrize(
    "newer", [{"version": 4}, {"labelled": 600}, {"window_to": "2024-05-01T13:00:00+00:00"}, {"predictions": 700}]
)
def test_new_predictions_or_outcomes_are_a_new_finding(newer: dict[str, Any]) -> None:
    assert judge(ALL, "performance", EVIDENCE | newer, EVIDENCE).train


def test_a_finding_that_the_declaration_does_not_want_starts_nothing() -> None:
    decision = judge(NONE, "drift", EVIDENCE, None)
    assert not decision.train
    assert "triggers.on_drift" in decision.reason
