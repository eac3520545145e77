"""The token bucket of a key."""

import os
from pathlib import Path

import pytest

from serving.keys.key import Key
from serving.keys.limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def key(rate: float | None, name: str = "app") -> Key:
    return Key(name, frozenset({"predict"}), "0" * 64, rate)


def taken(limit: RateLimit, of: Key, tries: int) -> int:
    """How many of `tries` requests at this moment may pass."""
    return sum(limit.wait(of) == 0.0 for _ in range(tries))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(tmp_path: Path, clock: Clock) -> RateLimit:
    return RateLimit(tmp_path / "limits", clock)


def test_without_a_rate_there_is_no_limit_and_no_file(limit: RateLimit, tmp_path: Path) -> None:
    assert taken(limit, key(None), 1000) == 1000
    assert not (tmp_path / "limits").exists()


@pytest.mark.parametrize(("rate", "burst"), [(10, 10), (1, 1), (0.5, 1), (2.5, 2)])
def test_a_burst_and_then_the_rate(limit: RateLimit, clock: Clock, rate: float, burst: int) -> None:
    assert taken(limit, key(rate), 50) == burst
    passed = 0
    for _ in range(1000):
        clock.now += 0.02
        passed += limit.wait(key(rate)) == 0.0
    assert passed == pytest.approx(rate * 20, abs=1)


def test_the_wait_it_tells_is_what_it_takes(limit: RateLimit, clock: Clock) -> None:
    taken(limit, key(4), 10)
    clock.now += 0.1
    wait = limit.wait(key(4))
    assert wait == pytest.approx(0.15)
    clock.now += wait
    assert limit.wait(key(4)) == 0.0


def test_a_long_rest_fills_the_bucket_and_no_more(limit: RateLimit, clock: Clock) -> None:
    taken(limit, key(5), 10)
    clock.now += 3600
    assert taken(limit, key(5), 50) == 5


def test_keys_do_not_draw_on_each_other(limit: RateLimit) -> None:
    assert taken(limit, key(3), 10) == 3
    assert taken(limit, key(3, "other"), 10) == 3


def test_processes_draw_on_one_bucket(limit: RateLimit, clock: Clock, tmp_path: Path) -> None:
    other = RateLimit(tmp_path / "limits", clock)
    assert sum(taken(each, key(10), 1) for _ in range(10) for each in (limit, other)) == 10


def test_another_process_really(limit: RateLimit, clock: Clock, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(taken(RateLimit(tmp_path / "limits", clock), key(10), 4))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert taken(limit, key(10), 50) == 6


def test_a_bucket_from_before_the_machine_started_does_not_shut_the_key_out(
    limit: RateLimit, clock: Clock, tmp_path: Path
) -> None:
    taken(limit, key(2), 10)
    clock.now = 5.0
    later = RateLimit(tmp_path / "limits", clock)
    assert taken(later, key(2), 10) == 2
