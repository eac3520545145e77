"""A while at full load: memory stays flat and latency does not creep."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from statistics import median

from contract import CANARY_SHARE_TAG
from tests.live.conftest import Sample, Start, load, predict

SECONDS = float(os.environ.get("SOAK_SECONDS", "90"))
MEGABYTE = 1 << 20


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def test_memory_is_flat_and_latency_does_not_creep(server: Start, samples: Callable[[str], Sample]) -> None:
    first, second = samples("numeric"), samples("numeric:1")
    running = server()
    running.add_version("m", first.model, first.tags, alias="champion")
    running.add_version("m", second.model, second.tags | {CANARY_SHARE_TAG: "10"}, alias="canary")
    running.start()
    requests = [predict("m", first.records[start : start + 4]) for start in range(0, 40, 4)]
    with load(running, requests, connections=32, seconds=SECONDS) as under:
        memory: list[int] = []

        def sampled() -> bool:
            memory.append(resident_bytes(running.pid))
            return under.ended

        running.wait(sampled, "the load ends", SECONDS + 60)
        replies = under.stop()
    assert {reply.status for reply in replies} == {200}
    tenth = len(memory) // 10
    begin, end = median(memory[tenth : 2 * tenth]), median(memory[-tenth:])
    assert end - begin < 12 * MEGABYTE, f"resident memory grew from {begin / MEGABYTE:.0f} to {end / MEGABYTE:.0f} MB"
    times = [
        median(reply.latency for reply in replies if part <= reply.at * 10 / SECONDS < part + 1) for part in range(10)
    ]
    # a creep is what grows with time: the last parts against the first, generous to a machine that does other things
    assert median(times[-3:]) < 2 * median(times[1:4]), [f"{value * 1000:.1f} ms" for value in times]
