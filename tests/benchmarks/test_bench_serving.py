"""What `make bench-serving` decides without a server: its table, its targets, its peers."""

import re

import pytest

from benchmarks.serving.case import BATCHES, CASES, MANY_CALLERS, ONE_BY_ONE, Measurement
from benchmarks.serving.peers import DIRECTORY, PEERS, rows_body, split_body, tensor_body
from benchmarks.serving.table import Line, Side, aims, markdown
from platform_cli.home import REPO

RECORDS = [{"a": 1.5, "b": None}, {"a": 2.5, "b": 3.0}]


def measurement(rate: float, p50: float = 1.0, p99: float = 2.0, errors: int = 0) -> Measurement:
    return Measurement(rate, p50, p99, p99, p99, errors)


def line(title: str, side: Side, rates: tuple[float, float, float], p50: float = 1.0, model: str = "numeric") -> Line:
    return Line(title, side, model, {case: measurement(rate, p50) for case, rate in zip(CASES, rates, strict=True)})


OURS = line("ours", Side.MAIN, (1000, 8000, 400), p50=0.2)
OTHERS = [
    line("floor", Side.FLOOR, (5000, 16000, 5000)),
    line("quick with one", Side.PEER, (900, 1000, 100), p50=0.8),
    line("quick with many", Side.PEER, (100, 2000, 200), p50=9.0),
    line("another way", Side.VARIANT, (1, 9000, 900)),
]
MIXED = [
    line("ours", Side.MAIN, (600, 1000, 400), model="mixed"),
    line("mlflow", Side.PEER, (100, 100, 100), model="mixed"),
]


def test_targets_are_held_against_the_best_peer_of_each_case() -> None:
    assert [(aim.figure, aim.met) for aim in aims([OURS, *OTHERS, *MIXED])] == [
        ("4.00 ×", True),
        ("0.50 ×", True),
        ("0.25 ×", True),
        ("2.00 ×", True),
        ("4.00 ×", False),  # the worst case counts
        ("10.00 ×", False),
    ]


def test_a_target_without_its_servers_is_not_measured() -> None:
    assert [aim.figure for aim in aims([OURS])][:-1] == [None] * 5
    assert "not measured" in markdown([OURS], "")


def test_lines_stand_from_the_floor_to_the_slowest_and_errors_are_told() -> None:
    failed = Line("broken", Side.PEER, "numeric", failure="it ended")
    figures = {ONE_BY_ONE: measurement(1), MANY_CALLERS: measurement(1500, errors=3), BATCHES: measurement(1)}
    text = markdown([failed, Line("faulty", Side.PEER, "numeric", figures), *OTHERS, OURS], "")
    rows = text.partition("**Targets**")[0].splitlines()[4:]
    titles = [row.split("|")[1].strip(" *") for row in rows if row and "÷" not in row]
    assert titles == ["floor", "ours", "another way", "quick with many", "faulty", "quick with one", "broken"]
    assert "1,500 (3 errors)" in text
    assert "not measured: it ended" in text


def test_ratios_are_to_the_best_figure_of_the_others() -> None:
    row = next(row for row in markdown([OURS, *OTHERS], "").splitlines() if "÷ the best peer" in row)
    assert "| 1.11 | 0.25 | 1.00 | 4.00 | 0.25 | 1.00 | 2.00 | 0.25 | 1.00 |" in row


def test_a_repeated_case_counts_by_its_median_and_all_its_errors() -> None:
    runs = [measurement(30), measurement(10, errors=2), measurement(20, p50=7)]
    assert Measurement.median(runs) == measurement(20, p50=7, errors=2)


def test_bodies_hold_the_rows_in_each_protocol() -> None:
    assert rows_body(RECORDS) == {"rows": [[1.5, None], [2.5, 3.0]]}
    assert split_body(RECORDS)["dataframe_split"] == {"columns": ["a", "b"], "data": [[1.5, None], [2.5, 3.0]]}
    tensor = tensor_body(RECORDS)["inputs"][0]
    assert (tensor["shape"], tensor["data"]) == ([2, 2], [1.5, None, 2.5, 3.0])


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_names_the_version_of_its_lock_and_computes_with_our_scikit_learn(peer) -> None:
    assert re.search(r" \d+\.\d+", peer.full_title())
    lock = (DIRECTORY / peer.env / "requirements.txt").read_text()
    ours = (REPO / "compose" / "serving" / "requirements.txt").read_text()
    pin = re.compile(r"^scikit-learn==[^ ]+", re.MULTILINE)
    assert pin.findall(lock) == pin.findall(ours) != []


def test_every_peer_that_is_locked_is_measured() -> None:
    assert {path.parent.name for path in DIRECTORY.glob("*/requirements.txt")} == {peer.env for peer in PEERS}
