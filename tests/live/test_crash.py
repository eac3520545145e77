"""What was acknowledged is found again, whatever happened to the server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from tests.live.conftest import Reply, Sample, Start, journal_entries, load, predict
from tests.live.test_swaps import answered
from tools.model_server import ModelServer

Samples = Callable[[str], Sample]


def acknowledged(replies: list[Reply]) -> set[str]:
    """The ids in the answers that have come."""
    ids = [one["prediction_id"] for reply in replies if reply.status == 200 for one in reply.json()["predictions"]]
    assert len(set(ids)) == len(ids)
    return set(ids)


def written(server: ModelServer) -> set[str]:
    """The ids that the journal holds."""
    return {
        str(UUID(int=UUID(entry["id"]).int + row))
        for entry in journal_entries(server)
        for row in range(len(entry["predictions"]))
    }


@pytest.mark.parametrize("durability", ["relaxed", "strict"])
def test_after_kill_9_under_load_every_acknowledged_id_is_in_the_journal(
    server: Start, samples: Samples, durability: str
) -> None:
    sample = samples("numeric")
    running = server({"SERVING_JOURNAL_DURABILITY": durability})
    running.add_version("m", sample.model, sample.tags, alias="champion")
    running.start()
    with load(running, [predict("m", sample.records[:3])], connections=16) as under:
        for _ in range(3):
            running.wait(lambda: answered(running) > 500, "some hundred answers")
            running.kill()
            running.start()
        running.wait(lambda: answered(running) > 100, "it answers again")
        replies = under.stop()
    assert {reply.status for reply in replies} <= {200, 0, 503}
    known = acknowledged(replies)
    assert len(known) > 1500
    assert known <= written(running)


def test_a_graceful_stop_answers_what_has_begun(server: Start, samples: Samples) -> None:
    """Its listening socket closes, so a new connection may be refused; nothing that it took is lost."""
    sample = samples("numeric")
    running = server()
    running.add_version("m", sample.model, sample.tags, alias="champion")
    running.start()
    with load(running, [predict("m", sample.records[:3])], connections=16) as under:
        running.wait(lambda: answered(running) > 300, "some hundred answers")
        running.terminate()
        replies = under.stop()
    assert acknowledged(replies) == written(running), "all that was begun was answered, all that was answered is kept"
    assert {reply.status for reply in replies} <= {200, 0}


def test_several_workers_count_together_and_one_that_dies_is_replaced(server: Start, samples: Samples) -> None:
    sample = samples("numeric")
    running = server({"SERVING_WORKERS": "2"})
    running.add_version("m", sample.model, sample.tags, alias="champion")
    running.start()
    with load(running, [predict("m", sample.records[:3])], connections=16) as under:
        running.wait(lambda: answered(running) > 500, "some hundred answers", 30)
        os.kill(worker_of(running), signal.SIGKILL)
        before = answered(running)
        running.wait(lambda: answered(running) > before + 500, "some hundred more", 30)
        replies = under.stop()
    good = [reply for reply in replies if reply.status == 200]
    assert len(good) > 1000
    assert acknowledged(replies) <= written(running)
    assert answered(running) >= len(good), "the counts of a dead worker are kept"
    assert len(list(running.data.glob("journal/worker-*"))) == 2, "its directory was taken over"


def worker_of(server: ModelServer) -> int:
    """A process that answers requests."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return next(int(pid) for pid in children if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text())
