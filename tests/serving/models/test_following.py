"""What is served follows the aliases, one model without another."""

import threading
from pathlib import Path

from serving.metrics import Metrics
from serving.models.follower import Follower
from serving.models.loader import Loader
from tests.serving.fakes import FakeRegistry, wait_for
from tests.serving.models.following import champion, info, refused, sample, settle


def test_the_alias_is_followed_forth_and_back(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path, other_model_dir: Path
) -> None:
    changes: list[int] = []
    follower.on_change = lambda: changes.append(len(follower.catalog.deployments))
    registry.add("m", model_dir)
    settle(follower)
    before = follower.catalog
    assert changes[-1] == 1
    registry.add("m", other_model_dir)
    settle(follower)
    assert champion(follower) == 2
    old = before.find("m").champion
    assert old is not None
    assert old.version == 1, "a request that took the catalog before keeps its version"
    registry.by_model["m"]["champion"] = 1
    settle(follower)
    assert champion(follower) == 1
    assert registry.downloads == 2, "going back needs no download"
    assert (info(metrics, 1), info(metrics, 2)) == (1, 0)
    assert registry.written == [], "a version that serves is not written on"


def test_a_moved_alias_ends_the_wait_at_once(follower: Follower, registry: FakeRegistry, model_dir: Path) -> None:
    registry.add("m", model_dir, {})
    settle(follower)
    assert follower.catalog.failures["m", "champion"].version == 1
    registry.add("m", model_dir)
    settle(follower)
    assert champion(follower) == 2
    assert not follower.catalog.failures


def test_an_alias_that_goes_back_to_what_serves_clears_the_failure(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path
) -> None:
    registry.add("m", model_dir)
    settle(follower)
    registry.add("m", model_dir, {})
    settle(follower)
    registry.by_model["m"]["champion"] = 1
    settle(follower)
    assert not follower.catalog.failures
    assert sample(metrics, "serving_model_alias_not_served", model="m", role="champion") == 0


def test_one_bad_model_does_not_keep_the_others_from_being_served(
    follower: Follower, registry: FakeRegistry, model_dir: Path
) -> None:
    registry.add("bad", model_dir, {})
    registry.add("good", model_dir)
    settle(follower)
    assert champion(follower, "good") == 1
    assert "version 1: it has no valid tag" in refused(follower, "bad").message


def test_a_model_that_is_being_downloaded_holds_up_no_other(
    follower: Follower, registry: FakeRegistry, model_dir: Path, other_model_dir: Path, regressor_dir: Path
) -> None:
    registry.blocked["slow"] = threading.Event()
    registry.add("slow", regressor_dir)
    follower.poll()
    wait_for(lambda: registry.downloads == 1)
    registry.add("m", model_dir)
    follower.poll()
    wait_for(lambda: "m" in follower.catalog.deployments)
    registry.add("m", other_model_dir)
    follower.poll()
    wait_for(lambda: champion(follower) == 2)
    assert "version 1 of 'slow' is being loaded" in refused(follower, "slow").message
    assert not follower.catalog.complete
    registry.blocked["slow"].set()
    assert follower.join(30)
    assert follower.catalog.complete
    assert champion(follower, "slow") == 1


def test_what_was_loaded_too_late_is_not_served(
    follower: Follower, registry: FakeRegistry, model_dir: Path, other_model_dir: Path
) -> None:
    registry.add("m", model_dir)
    settle(follower)
    registry.blocked["m"] = threading.Event()
    registry.add("m", other_model_dir)
    follower.poll()
    wait_for(lambda: registry.downloads == 2)
    registry.by_model["m"]["champion"] = 1
    follower.poll()
    served: list[int] = []
    follower.on_change = lambda: served.append(champion(follower))
    registry.blocked["m"].set()
    assert follower.join(30)
    settle(follower)
    assert set(served) <= {1}
    assert champion(follower) == 1
    assert not follower.catalog.failures


def test_a_model_whose_alias_is_taken_away_is_served_no_more(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path
) -> None:
    registry.add("m", model_dir)
    settle(follower)
    registry.by_model["m"].clear()
    settle(follower)
    error = refused(follower, "m")
    assert error.status == 503
    assert "'m' has no champion yet" in error.message
    assert "platform run PROJECT loop" in error.message
    assert info(metrics, 1) == 0


def test_waking_polls_at_once_in_every_process(registry: FakeRegistry, loader: Loader, model_dir: Path) -> None:
    followers = [Follower(registry, Loader(registry, loader.directory), Metrics()) for _ in range(2)]
    stop = threading.Event()
    an_hour = 3600.0
    threads = [threading.Thread(target=follower.run, args=(stop, an_hour), daemon=True) for follower in followers]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: registry.reads == 2)
        registry.add("m", model_dir)
        followers[0].wake()
        wait_for(lambda: all("m" in follower.catalog.deployments for follower in followers))
        assert registry.reads == 4
    finally:
        stop.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()
