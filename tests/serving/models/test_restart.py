"""What a restarted server serves, with the registry and without it."""

from pathlib import Path

import pytest

from contract import CANARY_SHARE_TAG, artifact_digest
from serving.metrics import Metrics
from serving.models.follower import Follower
from serving.models.loader import Loader
from tests.serving.conftest import SaveModel, classifier, training_frame
from tests.serving.fakes import FakeRegistry
from tests.serving.models.following import champion, digest, failure, refused, settle


class Restarted:
    """A second process of the server, over the same cache directory."""

    def __init__(self, registry: FakeRegistry, loader: Loader) -> None:
        self.follower = Follower(registry, Loader(registry, loader.directory), Metrics())
        self.follower.restore()
        assert self.follower.join(30)


def test_only_what_serves_and_what_served_before_stays_in_the_cache(
    follower: Follower, registry: FakeRegistry, save_model: SaveModel, monkeypatch: pytest.MonkeyPatch, loader: Loader
) -> None:
    monkeypatch.setattr("serving.models.cache.UNUSED_SECONDS", -1)
    for seed in range(3):
        registry.add("m", save_model(classifier(labels=training_frame()["hour"] > seed)))
        settle(follower)
    assert len([path for path in loader.directory.iterdir() if path.is_dir()]) == 2


def test_what_served_serves_again_while_the_registry_is_away(
    follower: Follower, registry: FakeRegistry, loader: Loader, model_dir: Path, other_model_dir: Path
) -> None:
    registry.add("m", model_dir, digest(model_dir) | {CANARY_SHARE_TAG: "1"})
    registry.by_model["m"]["canary"] = registry.add(
        "m", other_model_dir, digest(other_model_dir) | {CANARY_SHARE_TAG: "25"}, champion=False
    )
    settle(follower)
    registry.down = True
    again = Restarted(registry, loader).follower
    settle(again)
    assert again.catalog.complete
    deployment = again.catalog.find("m")
    assert [(model.version, model.role, model.run_id) for model in deployment.versions()] == [
        (1, "champion", "run-1"),
        (2, "canary", "run-2"),
    ]
    assert deployment.canary_share == 0.25
    registry.down = False
    before = deployment.champion
    settle(again)
    assert again.catalog.find("m").champion is before
    assert registry.downloads == 2


def test_a_restart_does_not_make_a_refused_version_serve_nor_the_old_one_go(
    follower: Follower, registry: FakeRegistry, loader: Loader, model_dir: Path, smaller_dir: Path
) -> None:
    registry.add("m", model_dir)
    settle(follower)
    registry.add("m", smaller_dir)
    settle(follower)
    assert champion(follower) == 1
    again = Follower(registry, Loader(registry, loader.directory), Metrics())
    again.restore()
    again.poll()
    assert again.join(30)
    assert champion(again) == 1
    assert "gone: hour" in failure(again)
    assert again.catalog.complete


def test_a_restart_serves_what_the_aliases_say_now(
    follower: Follower, registry: FakeRegistry, loader: Loader, model_dir: Path, other_model_dir: Path
) -> None:
    registry.add("m", model_dir)
    registry.add("gone", model_dir)
    settle(follower)
    registry.by_model["gone"].clear()
    registry.add("m", other_model_dir)
    again = Restarted(registry, loader).follower
    assert champion(again, "gone") == 1
    settle(again)
    assert champion(again) == 2
    assert "gone" not in again.catalog.deployments


def test_what_is_not_in_the_cache_any_more_is_loaded_when_the_registry_answers(
    follower: Follower, registry: FakeRegistry, loader: Loader, model_dir: Path, other_model_dir: Path
) -> None:
    registry.add("m", model_dir)
    registry.add("n", other_model_dir)
    settle(follower)
    (loader.directory / artifact_digest(model_dir) / "model.skops").write_bytes(b"changed")
    registry.down = True
    again = Restarted(registry, loader).follower
    settle(again)
    assert champion(again, "n") == 1
    assert not again.catalog.complete
    assert "has not been read yet" in refused(again, "m").message
    registry.down = False
    settle(again)
    assert champion(again) == 1
    assert again.catalog.complete


def test_a_start_without_state_and_registry_is_not_complete(follower: Follower, registry: FakeRegistry) -> None:
    registry.down = True
    follower.restore()
    settle(follower)
    assert not follower.catalog.complete
    registry.down = False
    settle(follower)
    assert follower.catalog.complete
