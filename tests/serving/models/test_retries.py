"""What could not be loaded is tried again, neither too often nor too late."""

from pathlib import Path

import pytest

from contract import DIGEST_TAG, EXAMPLE_OUTPUT_TAG, SERVING_STATUS_TAG
from serving.metrics import Metrics
from serving.models.follower import Follower
from tests.serving.fakes import FakeRegistry
from tests.serving.models.following import Clock, champion, digest, refused, sample, settle


def test_a_refused_version_is_not_tried_in_a_loop(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path, clock: Clock
) -> None:
    registry.add("m", model_dir, {DIGEST_TAG: "0" * 64})
    for _ in range(5):
        settle(follower)
    assert registry.downloads == 1
    clock.now += 61
    settle(follower)
    assert registry.downloads == 2
    clock.now += 61
    settle(follower)
    assert registry.downloads == 2, "each try comes later than the one before"
    assert len(registry.written) == 1, "what stands there already is not written again"
    assert sample(metrics, "serving_model_load_failures_total", model="m", version="1") == 2


def test_a_long_reason_is_cut_in_the_tag(follower: Follower, registry: FakeRegistry, model_dir: Path) -> None:
    registry.add("m", model_dir, digest(model_dir) | {EXAMPLE_OUTPUT_TAG: "{" * 600})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "download", lambda *_: (_ for _ in ()).throw(ConnectionError("x" * 600)))
        settle(follower)
    assert len(registry.tag("m", 1, SERVING_STATUS_TAG) or "") == 500


def test_a_tag_that_changes_ends_the_wait_and_the_refusal(
    follower: Follower, registry: FakeRegistry, model_dir: Path
) -> None:
    registry.add("m", model_dir, {})
    settle(follower)
    assert "no valid tag" in refused(follower, "m").message
    registry.versions["m", 1][1].update(digest(model_dir))
    settle(follower)
    assert champion(follower) == 1
    assert not follower.catalog.failures
    assert registry.tag("m", 1, SERVING_STATUS_TAG) is None


def test_a_registry_that_is_down_changes_nothing(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path
) -> None:
    registry.add("m", model_dir)
    settle(follower)
    registry.down = True
    settle(follower)
    assert champion(follower) == 1
    assert sample(metrics, "serving_registry_up") == 0
    registry.down = False
    settle(follower)
    assert sample(metrics, "serving_registry_up") == 1


def test_a_download_that_fails_is_tried_again_soon(
    follower: Follower, registry: FakeRegistry, model_dir: Path, clock: Clock
) -> None:
    registry.add("m", model_dir)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "download", lambda *_: (_ for _ in ()).throw(ConnectionError("reset by peer")))
        settle(follower)
    assert "ConnectionError: reset by peer" in refused(follower, "m").message
    assert "reset by peer" in (registry.tag("m", 1, SERVING_STATUS_TAG) or "")
    clock.now += 2.1
    settle(follower)
    assert champion(follower) == 1
    assert registry.tag("m", 1, SERVING_STATUS_TAG) is None


def test_a_tag_that_cannot_be_written_or_read_stops_nothing(
    follower: Follower, registry: FakeRegistry, model_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry.add("bad", model_dir, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "set_tag", lambda *_: (_ for _ in ()).throw(PermissionError("403")))
        settle(follower)
    assert "the tag platform.serving of version 1 cannot be written: 403" in caplog.text
    del registry.versions["bad", 1]
    registry.add("m", model_dir)
    settle(follower)
    assert champion(follower) == 1
