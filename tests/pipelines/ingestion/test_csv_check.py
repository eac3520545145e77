from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.ingestion.connections import CsvFormat, Stream
from pipelines.ingestion.csv_check import check_file

FORM = CsvFormat(filetype="csv")
HEADER = "year,month,day,code,seen,price,open"
ROWS = [f"2013,2,{day},{code},2013-02-{day:02}T10:00:00Z,1.5,true" for day in range(1, 29) for code in ("a", "b")]
STREAM: dict[str, Any] = {
    "name": "visits",
    "sync_mode": "incremental",
    "destination_sync_mode": "append_dedup",
    "cursor_field": "_ab_source_file_last_modified",
    "primary_key": ["day", "code"],
    "required": ["price"],
    "columns": {
        "year": "integer",
        "month": "integer",
        "day": "integer",
        "code": "string",
        "seen": "timestamp",
        "price": "number",
        "open": "boolean",
    },
    "expectations": {"whole_month": {"year": "year", "month": "month", "day": "day", "rows_a_day": 2}},
}


def check(tmp_path: Path, content: str | bytes, name: str = "2013-02.csv", **stream: Any) -> tuple[int, list[str]]:
    """The number of rows, and the problems as a person reads them."""
    path = tmp_path / "file.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    announced = stream.pop("announced", None)
    checked = check_file(path, Stream.model_validate(STREAM | stream), FORM, name, announced)
    return checked.rows, [str(problem) for problem in checked.problems]


def text(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


GOOD = text(*ROWS)


def with_row(index: int, row: str) -> str:
    """The good file with another row at `index` (the header is line 1, so that is line index + 2)."""
    return text(*ROWS[:index], row, *ROWS[index + 1 :])


def test_a_good_file_is_accepted(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD) == (56, [])
    assert check(tmp_path, GOOD, announced=56) == (56, [])


def test_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    turned = "\n".join(",".join(reversed(line.split(","))) for line in GOOD.splitlines()) + "\n"
    assert check(tmp_path, turned) == (56, [])


def test_an_empty_field_is_a_missing_value(tmp_path: Path) -> None:
    assert check(tmp_path, with_row(3, "2013,2,2,b,,2,")) == (56, [])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "the file is empty"),
        (HEADER + "\n", "0 rows, but at least 1 are expected"),
        (GOOD[:1000], "line 25: 5 fields instead of 7: cut off?"),
        (GOOD[:-3], "line 57: the last line has no end: the file was cut off"),
        (GOOD[:-1], "line 57: the last line has no end: the file was cut off"),
        (text(*ROWS[:50]), "3 days with fewer than 2 rows: cut off? Days (rows): 26 (0), 27 (0), 28 (0)"),
        (text(*ROWS[:55]), "1 days with fewer than 2 rows: cut off? Days (rows): 28 (1)"),
        (
            text(*ROWS, header=HEADER.replace("price", "cost")),
            "line 1: wrong columns (missing: price; not declared: co",
        ),
        (text(*[row + ",x" for row in ROWS], header=HEADER + ",gate"), "line 1: wrong columns (not declared: gate)"),
        (text(*[row[:-5] for row in ROWS], header=HEADER[:-5]), "line 1: wrong columns (missing: open)"),
        (text(*[row + ",1" for row in ROWS], header=HEADER + ",open"), "a column stands there twice"),
        (with_row(4, "2013,2,3,a,2013-02-03T10:00:00Z,1.5,true,more"), "line 6: 8 fields instead of 7"),
        (with_row(4, "2013,2,third,a,2013-02-03T10:00:00Z,1.5,true"), "line 6: day: 'third' is not of type integer"),
        (with_row(4, "2013,2,3.5,a,2013-02-03T10:00:00Z,1.5,true"), "line 6: day: '3.5' is not of type integer"),
        (with_row(4, "2013,2,3,a,2013-02-30T10:00:00Z,1.5,true"), "line 6: seen: '2013-02-30T10:00:00Z' is not of"),
        (with_row(4, "2013,2,3,a,2013-02-03T10:00:00Z,NA,true"), "line 6: price: 'NA' is not of type number"),
        (with_row(4, "2013,2,3,a,2013-02-03T10:00:00Z,1,maybe"), "line 6: open: 'maybe' is not of type boolean"),
        (with_row(4, "2013,2,3,a,2013-02-03T10:00:00Z,,true"), "line 6: price: no value, but it must have one"),
        (with_row(4, "2013,2,3,,2013-02-03T10:00:00Z,1,true"), "line 6: code: no value, but it must have one"),
        (with_row(4, ROWS[0]), "line 6: repeats line 2 (day 1, code a)"),
        (with_row(4, "2013,3,3,a,2013-02-03T10:00:00Z,1,true"), "line 6: a row of another month than 2013-02"),
        (b"\x1f\x8b\x08\x00\xff\xfe", "not UTF-8 text"),
        (GOOD.replace(",b,", ",\xe4,").encode("latin-1"), "not UTF-8 text"),
        (with_row(4, '2013,2,3,"a,2013-02-03T10:00:00Z,1,true'), "line 6: not readable as CSV"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_reason(tmp_path: Path, content: str | bytes, told: str) -> None:
    _, problems = check(tmp_path, content)
    assert problems
    assert told in problems[0]


def test_a_file_cut_between_two_rows_is_told_by_the_number_of_rows_that_was_announced(tmp_path: Path) -> None:
    lenient = STREAM["expectations"]["whole_month"] | {"short_days": 1}
    cut = text(*ROWS[:-1])
    assert check(tmp_path, cut, expectations={"whole_month": lenient}) == (55, [])
    _, problems = check(tmp_path, cut, expectations={"whole_month": lenient}, announced=56)
    assert problems == ["55 rows, but its sender announced 56: the file was cut off or changed"]


def test_the_name_of_a_monthly_file_says_the_month(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD, name="february.csv")[1] == ["its name must say the month: YYYY-MM.csv"]
    assert check(tmp_path, GOOD, name="2013-03.csv")[1] == ["line 2: a row of another month than 2013-03"]


def test_a_table_without_a_month_has_a_least_number_of_rows(tmp_path: Path) -> None:
    assert check(tmp_path, GOOD, name="any.csv", expectations={"min_rows": 56}) == (56, [])
    assert "at least 57 are expected" in check(tmp_path, GOOD, name="any.csv", expectations={"min_rows": 57})[1][0]
