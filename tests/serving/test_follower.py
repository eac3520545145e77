"""What is served follows the aliases, and no bad version takes the place of a good one."""

from pathlib import Path

import pytest
from conftest import SaveModel, classifier, training_frame
from serving_fakes import FakeRegistry

from contract import DIGEST_TAG
from serving.errors import RequestError
from serving.models.follower import Follower
from serving.models.loader import Loader
from serving.metrics import Metrics


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follower(registry: FakeRegistry, loader: Loader, metrics: Metrics, clock: Clock) -> Follower:
    return Follower(registry, loader, metrics, clock)


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def refused(follower: Follower, name: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        follower.catalog.find(name)
    return caught.value


def test_the_alias_is_followed_forth_and_back(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path, other_model_dir: Path
) -> None:
    registry.add("m", model_dir)
    follower.poll()
    before = follower.catalog
    registry.add("m", other_model_dir)
    follower.poll()
    assert follower.catalog.find("m").version == 2
    assert before.find("m").version == 1, "a request that took the catalog before keeps its version"
    registry.by_model["m"]["champion"] = 1
    follower.poll()
    assert follower.catalog.find("m").version == 1
    assert registry.downloads == 2, "going back needs no download"
    labels = {"model": "m", "alias": "champion"}
    assert sample(metrics, "serving_model_info", **labels, version="1", run_id="run-1") == 1
    assert sample(metrics, "serving_model_info", **labels, version="2", run_id="run-2") is None


def test_a_bad_version_leaves_the_good_one_and_is_not_tried_in_a_loop(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path, clock: Clock
) -> None:
    registry.add("m", model_dir)
    follower.poll()
    registry.add("m", model_dir, {DIGEST_TAG: "0" * 64})
    for _ in range(5):
        follower.poll()
    assert follower.catalog.find("m").version == 1
    assert follower.catalog.failures["m"].version == 2
    assert registry.downloads == 2
    assert sample(metrics, "serving_model_load_failures_total", model="m", version="2") == 1
    assert sample(metrics, "serving_model_alias_not_served", model="m", alias="champion") == 1
    clock.now += 61
    follower.poll()
    assert registry.downloads == 3
    clock.now += 61
    follower.poll()
    assert registry.downloads == 3, "each try comes later than the one before"


def test_a_moved_alias_ends_the_wait_at_once(follower: Follower, registry: FakeRegistry, model_dir: Path) -> None:
    registry.add("m", model_dir, {})
    follower.poll()
    assert follower.catalog.failures["m"].version == 1
    registry.add("m", model_dir)
    follower.poll()
    assert follower.catalog.find("m").version == 2
    assert not follower.catalog.failures


def test_an_alias_that_goes_back_to_what_serves_clears_the_failure(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path
) -> None:
    registry.add("m", model_dir)
    follower.poll()
    registry.add("m", model_dir, {})
    follower.poll()
    registry.by_model["m"]["champion"] = 1
    follower.poll()
    assert not follower.catalog.failures
    assert sample(metrics, "serving_model_alias_not_served", model="m", alias="champion") == 0


def test_one_bad_model_does_not_keep_the_others_from_being_served(
    follower: Follower, registry: FakeRegistry, model_dir: Path
) -> None:
    registry.add("bad", model_dir, {})
    registry.add("good", model_dir)
    follower.poll()
    assert follower.catalog.find("good").version == 1
    assert "version 1: it has no valid tag" in refused(follower, "bad").message


def test_a_registry_that_is_down_changes_nothing(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path
) -> None:
    registry.add("m", model_dir)
    follower.poll()
    registry.down = True
    follower.poll()
    assert follower.catalog.find("m").version == 1
    assert sample(metrics, "serving_registry_up") == 0
    registry.down = False
    follower.poll()
    assert sample(metrics, "serving_registry_up") == 1


def test_a_download_that_fails_is_tried_again_soon(
    follower: Follower, registry: FakeRegistry, model_dir: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.add("m", model_dir)
    with monkeypatch.context() as patch:
        patch.setattr(registry, "download", lambda *_: (_ for _ in ()).throw(ConnectionError("reset by peer")))
        follower.poll()
    assert "ConnectionError: reset by peer" in refused(follower, "m").message
    clock.now += 2.1
    follower.poll()
    assert follower.catalog.find("m").version == 1


def test_a_model_whose_alias_is_taken_away_is_served_no_more(
    follower: Follower, registry: FakeRegistry, metrics: Metrics, model_dir: Path
) -> None:
    registry.add("m", model_dir)
    follower.poll()
    registry.by_model["m"].clear()
    follower.poll()
    error = refused(follower, "m")
    assert error.status == 503
    assert "'m' has no champion yet" in error.message
    assert "platform run PROJECT loop" in error.message
    assert sample(metrics, "serving_model_info", model="m", version="1", alias="champion", run_id="run-1") is None


def test_what_an_unknown_name_is_told_depends_on_what_is_known(
    follower: Follower, registry: FakeRegistry, model_dir: Path
) -> None:
    error = refused(follower, "m")
    assert (error.status, error.headers) == (503, {"Retry-After": "1"})
    assert "has not been read yet" in error.message
    follower.poll()
    assert refused(follower, "m").status == 503, "nothing is served at all: the model may be on its way"
    registry.add("a", model_dir)
    registry.add("b", model_dir)
    follower.poll()
    error = refused(follower, "m")
    assert (error.status, error.message) == (404, "no model 'm'; served are: a, b")


def test_only_what_serves_and_what_served_before_stays_in_the_cache(
    follower: Follower, registry: FakeRegistry, save_model: SaveModel, tmp_path: Path
) -> None:
    for seed in range(3):
        registry.add("m", save_model(classifier(labels=training_frame()["hour"] > seed)))
        follower.poll()
    assert len(list((tmp_path / "cache").iterdir())) == 2
