"""In which format a batch is answered."""

import pytest

from serving.errors import RequestError
from serving.protocols.batch import MEDIA_TYPES, wanted_type

STREAM, FILE, PARQUET = MEDIA_TYPES


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", STREAM),
        ("*/*", STREAM),
        ("application/x-parquet", PARQUET),
        ("text/html, application/*;q=0.8", STREAM),
        (f"{STREAM};q=0.2, {PARQUET};q=0.9", PARQUET),
        (f"{PARQUET};q=0, {FILE};q=bad, {STREAM}", STREAM),
        (f"*/*;q=0.1, {FILE}", FILE),
        (PARQUET.upper(), PARQUET),
    ],
)
def test_the_answers_format_is_what_the_caller_likes_best(accept: str, expected: str) -> None:
    assert wanted_type(accept) == expected


@pytest.mark.parametrize("accept", ["text/csv", "application/json;q=1", f"{STREAM};q=0"])
def test_a_format_that_is_not_there_is_refused(accept: str) -> None:
    with pytest.raises(RequestError) as caught:
        wanted_type(accept)
    assert caught.value.status == 406
