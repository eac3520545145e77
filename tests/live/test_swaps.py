"""Versions change under load, and nobody notices but by the version number."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract import CANARY_SHARE_TAG, DIGEST_TAG
from tests.live.conftest import Reply, Sample, Start, load, predict
from tools.model_server import ModelServer

SWAPS = 100
Samples = Callable[[str], Sample]


def served_version(server: ModelServer, sample: Sample) -> int:
    answer = server.call("POST", "/models/m/predict", {"records": sample.records[:1]})
    return int(answer.json()["version"])


Answers = dict[int, list[float]]


def asked_alone(server: ModelServer, records: list[dict[str, Any]], aliases: Sequence[str] = ("champion",)) -> Answers:
    """What the version of each alias says to `records` when nothing else goes on."""
    for alias in aliases:
        path = f"/models/m/predict?alias={alias}"
        server.wait(lambda p=path: server.call("POST", p, {"records": records}).status == 200, f"{alias} serves")
    answers = [server.call("POST", f"/models/m/predict?alias={a}", {"records": records}).json() for a in aliases]
    return {answer["version"]: [one["probability"] for one in answer["predictions"]] for answer in answers}


def assert_one_version_each(replies: list[Reply], answers: Answers) -> None:
    """Every answer is, row by row, what the version says that it names."""
    given: dict[int, list[list[float]]] = {}
    for reply in replies:
        content = reply.json()
        given.setdefault(content["version"], []).append([one["probability"] for one in content["predictions"]])
    for version, rows in given.items():
        np.testing.assert_allclose(rows, np.tile(answers[version], (len(rows), 1)), rtol=1e-9)


def test_a_hundred_swaps_under_load_fail_no_request_and_mix_no_versions(server: Start, samples: Samples) -> None:
    first, second = samples("numeric"), samples("numeric:1")
    records = first.records[:8]
    running = server()
    running.add_version("m", first.model, first.tags, alias="champion")
    running.add_version("m", second.model, second.tags, alias="canary")
    running.start()
    answers = asked_alone(running, records, ("champion", "canary"))
    assert answers[1] != pytest.approx(answers[2], rel=1e-3)
    running.set_alias("m", "canary", None)
    slowest = 0.0
    with load(running, [predict("m", records)], connections=8) as under:
        for swap in range(SWAPS):
            version = 2 - swap % 2
            moved = time.monotonic()
            running.set_alias("m", "champion", version)
            running.wait(lambda wanted=version: served_version(running, first) == wanted, f"version {version} serves")
            slowest = max(slowest, time.monotonic() - moved)
        replies = under.stop()
    assert Counter(reply.status for reply in replies) == {200: len(replies)}
    assert len(replies) > 10 * SWAPS
    assert_one_version_each(replies, answers)
    # the server is told 2 seconds at most; here it looks ten times a second and shares two cores with its load
    assert slowest < 2, f"the slowest swap took {slowest:.2f} s"


@pytest.fixture
def bad_versions(samples: Samples, tmp_path: Path) -> dict[str, tuple[Path, dict[str, str | None]]]:
    """Versions that must not serve: model directory and tags."""
    good = samples("numeric:1")
    other = samples("mixed")
    return {
        "a wrong digest": (good.model, {DIGEST_TAG: "0" * 64}),
        "no digest": (good.model, {DIGEST_TAG: None}),
        "another signature": (other.model, {}),
        "other outputs than logged": (good.model, dict(samples("numeric").tags)),
        "a file that cannot be loaded": (_broken(good.model, tmp_path / "broken"), {}),
        "an example that it fails on": (_without_example(good.model, tmp_path / "no-example"), {}),
    }


def _broken(model: Path, copy: Path) -> Path:
    copy.mkdir()
    for file in model.iterdir():
        (copy / file.name).write_bytes(b"not a model" if file.suffix == ".skops" else file.read_bytes())
    return copy


def _without_example(model: Path, copy: Path) -> Path:
    copy.mkdir()
    for file in model.iterdir():
        if "input_example" not in file.name:
            (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_a_bad_version_never_takes_the_place_of_a_good_one(
    server: Start, samples: Samples, bad_versions: dict[str, tuple[Path, dict[str, str | None]]]
) -> None:
    good = samples("numeric")
    running = server()
    running.add_version("m", good.model, good.tags, alias="champion")
    running.start()
    answers = asked_alone(running, good.records[:4])
    with load(running, [predict("m", good.records[:4])], connections=4) as under:
        for why, (directory, tags) in bad_versions.items():
            number = running.add_version("m", directory, tags, alias="champion")
            running.wait(lambda n=number: _reported(running) == n, f"{why} is reported")
            running.wait(lambda n=number: "platform.serving" in running.tags("m", n), f"{why} is tagged")
            assert served_version(running, good) == 1, why
        replies = under.stop()
    assert Counter(reply.status for reply in replies) == {200: len(replies)}
    assert_one_version_each(replies, answers)
    figures = running.call("GET", "/metrics", key="prometheus").body.decode()
    assert 'serving_model_alias_not_served{model="m",role="champion"} 1.0' in figures


def _reported(server: ModelServer) -> int | None:
    reports = server.call("GET", "/models").json()["not_served"]
    return int(reports[0]["version"]) if reports else None


@pytest.mark.parametrize("percent", [10, 40])
def test_a_canary_gets_its_share_within_the_bound_of_chance(server: Start, samples: Samples, percent: int) -> None:
    """Six standard deviations of a binomial share."""
    first, second = samples("numeric"), samples("numeric:1")
    running = server()
    running.add_version("m", first.model, first.tags, alias="champion")
    tags = second.tags | {CANARY_SHARE_TAG: str(percent)}
    running.add_version("m", second.model, tags, alias="canary")
    running.start()
    answers = asked_alone(running, first.records[:1], ("champion", "canary"))
    path, body, _ = predict("m", first.records[:1])
    requests = [[path, body, f"user-{n}", {"X-Routing-Key": f"user-{n}"}] for n in range(2000)]
    with load(running, requests, connections=16) as under:
        running.wait(lambda: answered(running) > 2 * len(requests), "everyone was answered twice", 60)
        replies = under.stop()
    assert {reply.status for reply in replies} == {200}
    assert_one_version_each(replies, answers)
    seen: dict[str, set[int]] = {}
    for reply in replies:
        seen.setdefault(reply.name, set()).add(reply.json()["version"])
    assert all(len(versions) == 1 for versions in seen.values()), "a caller saw two versions"
    share, wanted = sum(versions == {2} for versions in seen.values()) / len(seen), percent / 100
    assert abs(share - wanted) < 6 * (wanted * (1 - wanted) / len(seen)) ** 0.5


def answered(server: ModelServer) -> float:
    """How many predictions were answered, by the server's own count."""
    lines = server.call("GET", "/metrics", key="prometheus").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("model_infer_request_success_total"))
