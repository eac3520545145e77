"""Ids of predictions."""

import time
import uuid

from serving.ids import MAX_ROWS, PredictionIds, moment_of


def test_ids_are_uuids_of_version_7_that_count_their_rows() -> None:
    ids = PredictionIds.drawn(3)
    parsed = [uuid.UUID(text) for text in ids.texts()]
    assert [value.int - parsed[0].int for value in parsed] == [0, 1, 2]
    assert {(value.version, value.variant) for value in parsed} == {(7, uuid.RFC_4122)}
    assert ids.texts()[0] == ids.base


def test_an_id_tells_when_it_was_drawn() -> None:
    before = time.time()
    assert before - 0.002 < moment_of(uuid.UUID(PredictionIds.drawn(1).base)) < time.time() + 0.002


def test_the_largest_request_stays_within_its_draw() -> None:
    last = uuid.UUID(PredictionIds(PredictionIds.drawn(1).base, MAX_ROWS).texts()[-1])
    assert last.int & (MAX_ROWS - 1) == MAX_ROWS - 1


def test_draws_differ() -> None:
    assert len({PredictionIds.drawn(1).base for _ in range(10_000)}) == 10_000
