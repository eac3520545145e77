"""What is served follows the aliases, and no bad version takes the place of a good one."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SaveModel, classifier, training_frame
from mlflow.models import infer_signature
from serving_fakes import FakeRegistry, wait_for
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from contract import (
    CANARY_SHARE_TAG,
    DIGEST_TAG,
    EXAMPLE_OUTPUT_TAG,
    SERVING_STATUS_TAG,
    SIGNATURE_CHANGE_TAG,
    artifact_digest,
)
from serving.errors import RequestError
from serving.metrics import Metrics
from serving.models.follower import Follower
from serving.models.loader import Loader

NO_ANSWER = '{"predictions": [false, false, false, false, false, false], "probabilities": [1, 1, 1, 1, 1, 1]}'
Made = tuple[Path, dict[str, str]]


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


@pytest.fixture
def smaller_dir(save_model: SaveModel) -> Path:
    """A model that no longer knows the field `hour`."""
    frame = training_frame().drop(columns="hour")
    return save_model(
        classifier().set_params(columntransformer__remainder="passthrough").fit(frame, [0, 1] * 30), frame
    )


def settle(follower: Follower) -> None:
    follower.poll()
    assert follower.join(30)


def champion(follower: Follower, name: str = "m") -> int:
    found = follower.catalog.find(name).champion
    assert found is not None
    return found.version


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def info(metrics: Metrics, version: int, role: str = "champion") -> float | None:
    labels = {"model": "m", "version": str(version), "role": role, "run_id": f"run-{version}"}
    return sum(
        found.value
        for family in metrics.registry.collect()
        for found in family.samples
        if found.name == "serving_model_info" and labels.items() <= found.labels.items()
    )


def refused(follower: Follower, name: str) -> RequestError:
    with pytest.raises(RequestError) as caught:
        follower.catalog.find(name)
    return caught.value


def failure(follower: Follower, role: str = "champion", name: str = "m") -> str:
    return follower.catalog.failures[name, role].reason


def digest(directory: Path) -> dict[str, str]:
    return {DIGEST_TAG: artifact_digest(directory)}


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


def changed_after(model: Path, _: SaveModel) -> Made:
    return model, {DIGEST_TAG: "0" * 64}


def of_foreign_types(_: Path, save: SaveModel) -> Made:
    frame = training_frame()[["distance"]]
    foreign = make_pipeline(FunctionTransformer(np.savetxt), LinearRegression())
    made = save(foreign, frame, skops_trusted_types=["numpy.savetxt"], input_example=None)
    return made, digest(made)


def without_signature(model: Path, _: SaveModel) -> Made:
    (model / "MLmodel").write_text("\n".join(_not_signature((model / "MLmodel").read_text().splitlines())))
    return model, digest(model)


def _not_signature(lines: list[str]) -> list[str]:
    start = lines.index("signature:")
    end = next(number for number in range(start + 1, len(lines)) if not lines[number].startswith(" "))
    return lines[:start] + lines[end:]


def that_raises_on_load(model: Path, _: SaveModel) -> Made:
    (model / "model.skops").write_bytes(b"no archive")
    return model, digest(model)


def that_raises_on_its_example(_: Path, save: SaveModel) -> Made:
    frame = pd.DataFrame({"altitude": [1.0, 2.0]})
    made = save(classifier(), frame, signature=infer_signature(frame))
    return made, digest(made)


def that_says_nan(_: Path, save: SaveModel) -> Made:
    frame = training_frame()[["hour", "distance"]]
    model = LinearRegression().fit(frame, frame["hour"])
    model.coef_[:] = float("nan")
    made = save(model, frame)
    return made, digest(made)


def that_answers_differently(model: Path, _: SaveModel) -> Made:
    return model, digest(model) | {EXAMPLE_OUTPUT_TAG: NO_ANSWER}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (changed_after, "not what was registered"),
        (of_foreign_types, "types that are not trusted"),
        (without_signature, "no input signature"),
        (that_raises_on_load, "cannot be read by skops"),
        (that_raises_on_its_example, "fails on its own input example"),
        (that_says_nan, "returned NaN or infinity"),
        (that_answers_differently, "does not answer its input example as it did"),
    ],
)
def test_a_bad_version_never_takes_the_place_of_a_good_one(
    make: Callable[[Path, SaveModel], Made],
    reason: str,
    request: pytest.FixtureRequest,
    model_dir: Path,
    tmp_path: Path,
) -> None:
    follower: Follower = request.getfixturevalue("follower")
    registry: FakeRegistry = request.getfixturevalue("registry")
    metrics: Metrics = request.getfixturevalue("metrics")
    registry.add("m", model_dir)
    settle(follower)
    copy = Path(shutil.copytree(model_dir, tmp_path / "copy"))
    registry.add("m", *make(copy, request.getfixturevalue("save_model")))
    settle(follower)
    assert champion(follower) == 1
    assert reason in failure(follower)
    assert follower.catalog.failures["m", "champion"].version == 2
    tag = registry.tag("m", 2, SERVING_STATUS_TAG)
    assert tag is not None
    assert tag.startswith("refused as champion: ")
    assert reason in tag
    assert sample(metrics, "serving_model_load_failures_total", model="m", version="2") == 1
    assert sample(metrics, "serving_model_alias_not_served", model="m", role="champion") == 1
    settle(follower)
    assert len(registry.written) == 1, "its own tag does not make it try again"


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


def test_another_signature_is_refused_until_that_is_allowed(
    follower: Follower, registry: FakeRegistry, model_dir: Path, smaller_dir: Path
) -> None:
    registry.add("m", model_dir)
    settle(follower)
    registry.add("m", smaller_dir)
    settle(follower)
    assert champion(follower) == 1
    assert "gone: hour" in failure(follower)
    registry.by_model["m"] = {"champion": 1, "canary": 2, "shadow": 2}
    settle(follower)
    assert follower.catalog.find("m").versions() == [follower.catalog.find("m").champion]
    assert "gone: hour" in failure(follower, "canary")
    assert "gone: hour" in failure(follower, "shadow")
    registry.by_model["m"] = {"champion": 2}
    registry.versions["m", 2][1][SIGNATURE_CHANGE_TAG] = "allowed"
    settle(follower)
    assert champion(follower) == 2
    assert registry.tag("m", 2, SERVING_STATUS_TAG) is None


def test_what_serves_beside_a_new_champion_is_held_against_it(
    follower: Follower, registry: FakeRegistry, model_dir: Path, smaller_dir: Path, clock: Clock
) -> None:
    registry.add("m", smaller_dir)
    registry.by_model["m"]["canary"] = registry.add("m", smaller_dir, champion=False)
    registry.by_model["m"]["shadow"] = registry.add("m", model_dir, champion=False)
    settle(follower)
    assert "new and required: hour" in failure(follower, "shadow")
    registry.by_model["m"]["champion"] = 3
    registry.by_model["m"].pop("shadow")
    registry.versions["m", 3][1][SIGNATURE_CHANGE_TAG] = "allowed"
    settle(follower)
    deployment = follower.catalog.find("m")
    assert (champion(follower), deployment.canary) == (3, None)
    assert "gone: hour" in failure(follower, "canary")
    assert follower.catalog.failures["m", "canary"].tries == 1
    assert "refused as canary: " in (registry.tag("m", 2, SERVING_STATUS_TAG) or "")
    registry.by_model["m"]["champion"] = 1
    registry.versions["m", 1][1][SIGNATURE_CHANGE_TAG] = "allowed"
    settle(follower)
    assert follower.catalog.find("m").canary is not None, "what failed beside the old one may try beside the new"


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


def test_only_what_serves_and_what_served_before_stays_in_the_cache(
    follower: Follower, registry: FakeRegistry, save_model: SaveModel, monkeypatch: pytest.MonkeyPatch, loader: Loader
) -> None:
    monkeypatch.setattr("serving.models.cache.UNUSED_SECONDS", -1)
    for seed in range(3):
        registry.add("m", save_model(classifier(labels=training_frame()["hour"] > seed)))
        settle(follower)
    assert len([path for path in loader.directory.iterdir() if path.is_dir()]) == 2


class Restarted:
    """A second process of the server, over the same cache directory."""

    def __init__(self, registry: FakeRegistry, loader: Loader) -> None:
        self.follower = Follower(registry, Loader(registry, loader.directory), Metrics())
        self.follower.restore()
        assert self.follower.join(30)


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
