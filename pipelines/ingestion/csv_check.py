"""Checks one CSV file against the declaration of its stream, before any of it is loaded. Reads it with DuckDB.

Line numbers count the header as line 1 and take every row for one line. The names that stand in the queries are those
of the declaration, which allows letters, digits and underscores only.
"""

from __future__ import annotations

import calendar
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.ingestion.connections import CsvFormat, Stream, WholeMonth

SHOWN = 3
_MONTH_FILE = re.compile(r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])\.csv")
_PARSES = {
    "integer": r"regexp_full_match({0}, '[+-]?[0-9]{{1,18}}')",
    "number": r"regexp_full_match({0}, '[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{{1,3}})?')",
    "boolean": "lower({0}) IN ('true', 'false')",
    "timestamp": "TRY_CAST({0} AS TIMESTAMPTZ) IS NOT NULL",
    "date": "regexp_full_match({0}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}') AND TRY_CAST({0} AS DATE) IS NOT NULL",
}


@dataclass(frozen=True)
class Problem:
    """Why a file is refused; `line` where that is one place."""

    reason: str
    line: int | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}" if self.line else self.reason


@dataclass(frozen=True)
class Checked:
    """The outcome: a file without problems is accepted."""

    rows: int
    problems: list[Problem]


def check_file(path: Path, stream: Stream, form: CsvFormat, name: str, announced_rows: int | None = None) -> Checked:
    """Check the file at `path`, called `name` (the last part of its key).

    `announced_rows` is the number of rows that the sender gave with the file, if any. The checks go from the form to
    the content, and stop at the first kind of problem: what comes after it would only repeat it.
    """
    size = path.stat().st_size
    if size == 0:
        return Checked(0, [Problem("the file is empty: it has not even a header")])
    header_problems, header = _check_header(path, stream, form)
    if header_problems:
        return Checked(0, header_problems)
    with duckdb.connect(config={"threads": 2}) as database:
        problems = _load(database, path, form, header)
        (rows,) = database.sql("SELECT count(*) FROM file").fetchall()[0]
        problems = problems or _check_end(path, size, rows, announced_rows)
        checks = (_check_values, _check_required, _check_keys, _check_expectations)
        for check in checks:
            problems = problems or check(database, stream, name)
    return Checked(rows, problems)


def _check_header(path: Path, stream: Stream, form: CsvFormat) -> tuple[list[Problem], list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file, delimiter=form.delimiter, quotechar=form.quote_char), [])
    except UnicodeDecodeError:
        return [Problem("not UTF-8 text")], []
    missing = [name for name in stream.columns if name not in header]
    extra = [name for name in header if name not in stream.columns]
    parts = []
    if missing:
        parts.append(f"missing: {', '.join(missing)}")
    if extra:
        parts.append(f"not declared: {', '.join(extra)}")
    if len(set(header)) < len(header):
        parts.append("a column stands there twice")
    return ([Problem(f"wrong columns ({'; '.join(parts)})", 1)] if parts else []), header


def _load(database: duckdb.DuckDBPyConnection, path: Path, form: CsvFormat, header: Sequence[str]) -> list[Problem]:
    """Read the file as text into the table ``file`` (with ``line``); the rows that do not fit are the problems."""
    database.execute(
        """CREATE TABLE file AS SELECT row_number() OVER () + 1 AS line, * FROM read_csv($path, header = true,
        columns = $columns, delim = $delimiter, quote = $quote, escape = $quote, nullstr = $nulls, auto_detect = false,
        strict_mode = true, null_padding = false, store_rejects = true, max_line_size = 1048576)""",
        {
            "path": str(path),
            "columns": dict.fromkeys(header, "VARCHAR"),
            "delimiter": form.delimiter,
            "quote": form.quote_char,
            "nulls": form.null_values or [""],
        },
    )
    rejected = database.sql(
        "SELECT line, any_value(error_type::VARCHAR), any_value(csv_line) FROM reject_errors"
        " GROUP BY line ORDER BY line"
    ).fetchall()
    return [Problem(_reject_reason(kind, text, form, len(header)), line) for line, kind, text in rejected[:SHOWN]]


def _reject_reason(kind: str, text: str | None, form: CsvFormat, columns: int) -> str:
    if kind in {"MISSING COLUMNS", "TOO MANY COLUMNS"}:
        fields = len(next(csv.reader([text or ""], delimiter=form.delimiter, quotechar=form.quote_char), []))
        cut = ": cut off?" if kind == "MISSING COLUMNS" else ""
        return f"{fields} fields instead of {columns}{cut}"
    return f"not readable as CSV ({kind.lower()})"


def _check_end(path: Path, size: int, rows: int, announced_rows: int | None) -> list[Problem]:
    with path.open("rb") as file:
        file.seek(size - 1)
        complete = file.read(1) in b"\r\n"
    if not complete:
        return [Problem("the last line has no end: the file was cut off", rows + 1)]
    if announced_rows is not None and announced_rows != rows:
        return [Problem(f"{rows} rows, but its sender announced {announced_rows}: the file was cut off or changed")]
    return []


def _check_values(database: duckdb.DuckDBPyConnection, stream: Stream, _name: str) -> list[Problem]:
    """Values that are not of the declared type, the first of each column."""
    problems = []
    typed = {name: kind for name, kind in stream.columns.items() if kind != "string"}
    first = _first_lines(database, {name: _wrong(_quote(name), kind) for name, kind in typed.items()})
    for name, line in first.items():
        (value,) = database.execute(f"SELECT {_quote(name)} FROM file WHERE line = ?", [line]).fetchall()[0]  # noqa: S608
        problems.append(Problem(f"{name}: {value!r} is not of type {typed[name]}", line))
    return sorted(problems, key=lambda problem: problem.line or 0)[:SHOWN]


def _wrong(column: str, kind: str) -> str:
    return f"{column} IS NOT NULL AND NOT ({_PARSES[kind].format(column)})"


def _check_required(database: duckdb.DuckDBPyConnection, stream: Stream, _name: str) -> list[Problem]:
    first = _first_lines(database, {name: f"{_quote(name)} IS NULL" for name in stream.mandatory})
    return [Problem(f"{name}: no value, but it must have one", line) for name, line in list(first.items())[:SHOWN]]


def _first_lines(database: duckdb.DuckDBPyConnection, conditions: dict[str, str]) -> dict[str, int]:
    """The first line that meets each condition, for the conditions that any line meets."""
    if not conditions:
        return {}
    columns = ", ".join(f"min(line) FILTER (WHERE {condition})" for condition in conditions.values())
    lines = database.sql(f"SELECT {columns} FROM file").fetchall()[0]  # noqa: S608
    return {name: line for name, line in zip(conditions, lines, strict=True) if line is not None}


def _check_keys(database: duckdb.DuckDBPyConnection, stream: Stream, _name: str) -> list[Problem]:
    """Rows that stand in the file more than once, by the primary key."""
    keys = ", ".join(_quote(name) for name in stream.primary_key)
    found = database.sql(
        f"SELECT {keys}, min(line), max(line) FROM file GROUP BY {keys} HAVING count(*) > 1"  # noqa: S608
        f" ORDER BY min(line) LIMIT {SHOWN}"
    ).fetchall()
    problems = []
    for *values, first, last in found:
        row = ", ".join(f"{name} {value}" for name, value in zip(stream.primary_key, values, strict=True))
        problems.append(Problem(f"repeats line {first} ({row})", last))
    return problems


def _check_expectations(database: duckdb.DuckDBPyConnection, stream: Stream, name: str) -> list[Problem]:
    rules = stream.expectations
    (rows,) = database.sql("SELECT count(*) FROM file").fetchall()[0]
    if rows < rules.min_rows:
        return [Problem(f"{rows} rows, but at least {rules.min_rows} are expected: cut off?")]
    return _check_month(database, rules.whole_month, name) if rules.whole_month else []


def _check_month(database: duckdb.DuckDBPyConnection, rule: WholeMonth, name: str) -> list[Problem]:
    """The file holds the month that its name says, and every day of it."""
    match = _MONTH_FILE.fullmatch(name)
    if match is None:
        return [Problem("its name must say the month: YYYY-MM.csv")]
    year, month = int(match["year"]), int(match["month"])
    inside = f"{_quote(rule.year)}::INT = {year} AND {_quote(rule.month)}::INT = {month}"
    outside = _first_lines(database, {"date": f"NOT ({inside})"})
    if outside:
        return [Problem(f"a row of another month than {match['year']}-{match['month']}", outside["date"])]
    counted = database.sql(f"SELECT {_quote(rule.day)}::INT, count(*) FROM file GROUP BY 1").fetchall()  # noqa: S608
    rows = dict(counted)
    days = range(1, calendar.monthrange(year, month)[1] + 1)
    short = [day for day in days if rows.get(day, 0) < rule.rows_a_day]
    if len(short) <= rule.short_days:
        return []
    shown = ", ".join(f"{day} ({rows.get(day, 0)})" for day in short[:5]) + (", …" if len(short) > 5 else "")
    return [Problem(f"{len(short)} days with fewer than {rule.rows_a_day} rows: cut off? Days (rows): {shown}")]


def _quote(name: str) -> str:
    return f'"{name}"'
