"""A shadow sees what the champion answered, and cannot be felt."""

from __future__ import annotations

import signal
from collections.abc import Callable
from os import kill
from pathlib import Path
from statistics import median

from tests.live.conftest import Sample, Start, journal_entries, load, predict
from tests.live.test_swaps import answered
from tools.model_server import ModelServer

Samples = Callable[[str], Sample]


def shadow_process(server: ModelServer) -> int | None:
    """The process of the shadows, if it runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"serving.shadow" in words and str(server.data).encode() in words:
                return int(entry.name)
    return None


def by_role(server: ModelServer) -> dict[str, dict[str, dict[str, object]]]:
    """Role → first id → entry, of all that the journal holds."""
    found: dict[str, dict[str, dict[str, object]]] = {"champion": {}, "shadow": {}}
    for entry in journal_entries(server):
        found[entry["role"]][entry["id"]] = entry
    return found


def test_what_was_answered_is_predicted_by_the_shadow_too_and_kept_under_the_same_ids(
    server: Start, samples: Samples
) -> None:
    first, second = samples("numeric"), samples("numeric:1")
    running = server()
    running.add_version("m", first.model, first.tags, alias="champion")
    running.add_version("m", second.model, second.tags, alias="shadow")
    running.start()

    def shadow_answers() -> bool:
        running.call("POST", "/models/m/predict", {"records": first.records[:2]})
        return bool(by_role(running)["shadow"])

    running.wait(shadow_answers, "the shadow predicts", 30)
    asked = running.call("POST", "/models/m/predict", {"records": first.records[:5]}).json()
    assert asked["role"] == "champion"
    identity = asked["predictions"][0]["prediction_id"]
    running.wait(lambda: identity in by_role(running)["shadow"], "the shadow has predicted it", 30)
    entries = by_role(running)
    own, other = entries["champion"][identity], entries["shadow"][identity]
    assert (own["version"], other["version"]) == (1, 2)
    assert own["columns"] == other["columns"]
    alone = running.call("POST", "/models/m/predict?alias=shadow", {"records": first.records[:5]}).json()
    assert other["predictions"] == [one["prediction"] for one in alone["predictions"]]

    running.set_alias("m", "shadow", None)
    running.wait(lambda: shadow_process(running) is None, "its process ends with the alias", 30)


def test_a_shadow_that_hangs_is_not_felt(server: Start, samples: Samples) -> None:
    """Its process is stopped, which is the worst hang there is; latencies before and meanwhile are of one run."""
    first, second = samples("numeric"), samples("numeric:1")
    running = server()
    running.add_version("m", first.model, first.tags, alias="champion")
    running.add_version("m", second.model, second.tags)
    running.start()
    with load(running, [predict("m", first.records[:4])], connections=4) as under:
        running.wait(lambda: answered(running) > 2000, "two thousand answers without a shadow", 60)
        without = answered(running)
        running.set_alias("m", "shadow", 2)
        running.wait(lambda: bool(by_role(running)["shadow"]), "the shadow predicts", 60)
        process = shadow_process(running)
        assert process is not None
        kill(process, signal.SIGSTOP)
        hung = answered(running)
        running.wait(lambda: answered(running) > hung + 2000, "two thousand answers beside a shadow that hangs", 60)
        replies = under.stop()
    assert {reply.status for reply in replies} == {200}
    before = median(reply.latency for reply in replies[: int(without)])
    beside = median(reply.latency for reply in replies[-2000:])
    # not a race against the clock: a request that waited for the shadow would never have come back
    assert beside < 3 * before, f"median {before * 1000:.1f} ms before, {beside * 1000:.1f} ms beside the shadow"
