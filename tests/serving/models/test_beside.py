"""A canary and a shadow beside the champion."""

import threading
from pathlib import Path

import pytest

from contract import CANARY_SHARE_TAG
from serving.metrics import Metrics
from serving.models.follower import Follower
from tests.serving.fakes import FakeRegistry
from tests.serving.models.following import champion, failure, info, settle


def test_a_canary_and_a_shadow_serve_beside_the_champion(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path, other_model_dir: Path
) -> None:
    registry.add("m", model_dir)
    registry.by_model["m"]["canary"] = registry.add("m", other_model_dir, champion=False)
    registry.by_model["m"]["shadow"] = 2
    settle(follower)
    deployment = follower.catalog.find("m")
    assert [(model.version, model.role) for model in deployment.versions()] == [
        (1, "champion"),
        (2, "canary"),
        (2, "shadow"),
    ]
    assert deployment.canary_share == 0.1
    assert (info(metrics, 2, "canary"), info(metrics, 2, "shadow")) == (1, 1)
    engines = [model.engine for model in deployment.versions()[1:]]
    registry.by_model["m"] = {"champion": 2, "canary": 2}
    settle(follower)
    deployment = follower.catalog.find("m")
    assert [(model.version, model.role) for model in deployment.versions()] == [(2, "champion")]
    promoted = deployment.champion
    assert promoted is not None
    assert promoted.engine in engines, "a canary that becomes champion is not loaded again"


def test_at_a_start_a_canary_waits_for_what_it_is_compared_with(
    follower: Follower, registry: FakeRegistry, model_dir: Path, smaller_dir: Path
) -> None:
    registry.add("m", model_dir)
    registry.by_model["m"]["canary"] = registry.add("m", smaller_dir, champion=False)
    registry.blocked["m", 1] = threading.Event()
    for _ in range(2):
        follower.poll()
        assert [thread.name for thread in threading.enumerate() if "load m" in thread.name] == ["load m champion"]
    registry.blocked["m", 1].set()
    assert follower.join(30)
    assert champion(follower) == 1
    assert "gone: hour" in failure(follower, "canary")


def test_a_changed_share_takes_effect_without_loading_anything(
    follower: Follower, registry: FakeRegistry, model_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.add("m", model_dir)
    registry.by_model["m"]["canary"] = registry.add("m", model_dir, champion=False)
    settle(follower)
    canary = follower.catalog.find("m").canary
    registry.versions["m", 2][1][CANARY_SHARE_TAG] = "50"
    settle(follower)
    assert follower.catalog.find("m").canary_share == 0.5
    registry.versions["m", 2][1][CANARY_SHARE_TAG] = "half"
    settle(follower)
    settle(follower)
    assert follower.catalog.find("m").canary_share == 0.0
    assert "is 'half', expected percent" in failure(follower, "canary")
    assert caplog.text.count("is 'half'") == 1
    registry.versions["m", 2][1][CANARY_SHARE_TAG] = "5"
    settle(follower)
    assert follower.catalog.find("m").canary_share == 0.05
    assert follower.catalog.find("m").canary is canary
    assert not follower.catalog.failures
