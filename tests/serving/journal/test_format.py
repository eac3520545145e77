"""Entries come back from their bytes, and damage stays in its line."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from serving.ids import PredictionIds
from serving.journal.format import Feedback, Line, feedback_line, moment, predictions_line, read_lines
from serving.journal.rows import Row, feedback_rows, prediction_rows
from tests.serving.journal.fakes import REQUEST, answer

ID = "01934f3c-5c7b-7abc-8def-0123450000"  # 2024-11-21T14:59:36.187Z; the row is missing


def line(count: int = 1, **options: Any) -> bytes:
    return predictions_line(answer(count, **options), REQUEST, 1.5)


def rows_of(entry: Any) -> list[Row]:
    return list(prediction_rows(entry, moment(entry)))


def entry_of(data: bytes) -> Any:
    (one,) = read_lines(data)
    return one.entry


def test_an_answer_comes_back() -> None:
    made = answer(2, keys=["a", None], ids=PredictionIds(f"{ID}00", 2), x=[1.5, None], name=["ü\n", "b"])
    data = predictions_line(made, REQUEST, 1.5)
    assert data.count(b"\n") == 1
    assert rows_of(entry_of(data)) == [
        (
            f"{ID}{row:02x}",
            "2024-11-21T14:59:36.187000+00:00",
            "m",
            3,
            "champion",
            key,
            features,
            str(row),
            0.25,
            1.5,
            "client",
            "r-1",
        )
        for row, (key, features) in enumerate([("a", '{"x":1.5,"name":"ü\\n"}'), (None, '{"x":null,"name":"b"}')])
    ]
    assert moment(entry_of(data)) == datetime(2024, 11, 21, 14, 59, 36, 187000, UTC)


def test_the_role_can_be_another_than_the_versions() -> None:
    data = predictions_line(answer(), REQUEST, 1.5, role="shadow")
    assert [row[4] for row in rows_of(entry_of(data))] == ["shadow"]


def test_values_of_all_types_come_back() -> None:
    made = answer(1, when=[datetime(2013, 7, 1, 5, 15)], flag=[True], big=[2**62], text=["0"])
    made.scores.predictions, made.scores.probabilities = ["late"], None
    (row,) = rows_of(entry_of(predictions_line(made, REQUEST, 1.5)))
    assert row[6] == '{"when":"2013-07-01T05:15:00","flag":true,"big":4611686018427387904,"text":"0"}'
    assert row[7:9] == ('"late"', None)


def test_a_model_without_inputs_has_rows() -> None:
    made = answer(2)
    made.rows.columns = {}
    assert [row[6] for row in rows_of(entry_of(predictions_line(made, REQUEST, 1.5)))] == ["{}", "{}"]


def test_feedback_comes_back() -> None:
    items = [Feedback(f"{ID}00", None, True, None), Feedback(None, "k", 3.5, 1700000000.25)]
    entry = entry_of(feedback_line("m", items, REQUEST, 1800000000.5))
    assert list(feedback_rows(entry)) == [
        ("m", "prediction", f"{ID}00", "true", None, 1800000000.5, "client"),
        ("m", "entity", "k", "3.5", 1700000000.25, 1800000000.5, "client"),
    ]
    assert moment(entry).timestamp() == 1800000000.5


def test_what_postgresql_cannot_keep_of_a_caller_is_replaced() -> None:
    entry = entry_of(line())
    entry |= {"caller": "a\x00b", "request_id": "\x00"}
    (row,) = rows_of(entry)
    assert row[-2:] == ("a\ufffdb", "\ufffd")


@pytest.mark.parametrize("position", [0, 8, 9, 40, -2])
def test_a_changed_byte_is_seen_and_the_other_lines_are_read(position: int) -> None:
    damaged = bytearray(line())
    damaged[position] ^= 1
    first, last = line(), line()
    read = list(read_lines(first + damaged + last))
    assert [one.entry is None for one in read] == [False, True, False]
    assert [one.start for one in read] == [0, len(first), len(first) + len(damaged)]
    assert read[1] == Line(len(first), bytes(damaged[:-1]), None)


@pytest.mark.parametrize("rubbish", [b"\n", b"\x00" * 100 + b"\n", b"00000000\n", b"00000000 \n", b"no checksum\n"])
def test_rubbish_is_no_entry(rubbish: bytes) -> None:
    assert [one.entry for one in read_lines(line() + rubbish)][1:] == [None] * rubbish.count(b"\n")


def test_an_entry_that_makes_no_rows_is_told() -> None:
    entry = entry_of(line(2))
    entry["probabilities"] = [math.pi]
    with pytest.raises(ValueError, match="shorter"):
        rows_of(entry)
