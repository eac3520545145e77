"""`platform demo --year`: the months of 2013 arrive one after another, and the loop keeps up with the seasons."""

from __future__ import annotations

import time
from pathlib import Path

from platform_cli.clients.airflow import DagRun
from platform_cli.demo.book import MONTHS, Book, Row
from platform_cli.demo.sample import ALL_ROWS, PROJECT, Sample, chapter, say
from platform_cli.errors import PlatformError, UsageError
from platform_cli.output import out

START_MONTHS = 2
"""How many months the first model is trained on."""
LAST_WEEK = 40
"""The part of a month from which on its rows are of its last seven days, on which no candidate is trained."""


def parse_months(text: str) -> list[int]:
    """The months of `A-B`, in order.

    Raises:
        UsageError: it is no such range, or too short for a story.
    """
    first, _, last = text.partition("-")
    try:
        found = list(range(int(first), int(last) + 1))
    except ValueError:
        found = []
    if len(found) <= START_MONTHS or not set(found) <= set(range(1, 13)):
        raise UsageError(f"{text!r} is not a range of at least {START_MONTHS + 1} months", do="write it as 1-12 or 1-6")
    return found


def tell(sample: Sample, months: list[int], directory: Path) -> None:
    """Take the sample through the months, and end with the table and the plot, both also as files in `directory`.

    Raises:
        PlatformError: the sample has been used on this stack for something else, or a part of the loop failed.
    """
    began = time.monotonic()
    book = Book.open(directory / "year.json")
    start = f"{months[0]}-{months[START_MONTHS - 1]}"
    if book.start != start:
        _begin(sample, book, start)
    for month in months[START_MONTHS:]:
        if not book.has(month):
            _month(sample, book, month)
    _conclude(sample, book, time.monotonic() - began)


def _begin(sample: Sample, book: Book, start: str) -> None:
    """The first model. The year begins without any: one that knows later months already would spoil the story."""
    if book.start or sample.registry().versions(PROJECT):
        raise PlatformError(
            f"{PROJECT} has been trained on this stack before, and the year begins without a model",
            where=str(sample.runtime.home.root),
            do="give it a stack of its own: PLATFORM_HOME=DIRECTORY platform demo --year",
        )
    first, last = (MONTHS[int(month) - 1] for month in start.split("-"))
    chapter(f"{first} to {last}: the first model")
    sample.new_data(start)
    book.first, book.start = sample.champion(), start
    sample.await_served()
    book.save()


def _month(sample: Sample, book: Book, month: int) -> None:
    """A month arrives: it is answered by what serves, then its outcomes are known, and the monitor decides whether a
    training is due. Its candidate is tried out on the month's last week, which it has not been trained on."""
    chapter(f"{MONTHS[month - 1]} arrives")
    with sample.requests_first(month):
        sample.send(month)
    found = sample.step("hindsight", "--month", str(month), "--version", str(book.first))
    findings, training = sample.look()
    watch = (training.watch if training else None) or sample.watched_release()
    released = _release(sample, month, watch) if watch else None
    book.metric = found["metric"]
    row = Row(
        month=month,
        rows=found["rows"],
        frozen=found["frozen"][book.metric],
        platform=found["answered"][book.metric],
        versions=found["versions"],
        drift=bool(findings["drift"]),
        drift_share=findings["drift_share"] or 0.0,
        drifted=findings["drifted"],
        lost_performance=bool(findings["lost_performance"]),
        trigger=training.trigger if training else None,
        candidate=training.version if training else None,
        gate=training.gate if training else None,
        released=released,
    )
    book.rows.append(row)
    book.save()
    say(f"  {book.metric}: the first model {row.frozen:.4f}, the platform {row.platform:.4f} ({row.gain:+.4f})")


def _release(sample: Sample, month: int, watch: DagRun) -> str:
    """Replay the month's last week, over and over, until the release has ended: how it did."""
    sample.send_until_released(month, ALL_ROWS, watch, first=LAST_WEEK)
    release = sample.step("release", "status", told=False)
    outcome = f"version {release['version']} {release['state'].replace('_', ' ')}"
    say(f"  {outcome}: {release['reason']}")
    sample.await_served()
    return outcome


def _conclude(sample: Sample, book: Book, seconds: float) -> None:
    """The closing page: the table, the figures, and where the files are."""
    plot = book.file.with_suffix(".png")
    sample.step("chart", "--rows", str(book.file), "--to", str(plot), told=False, files=[plot])
    out.print()
    out.print(book.table())
    figures = book.summary()
    out.print(
        f"\n{figures['months']} months: on average {figures['mean_gain']:+.4f} {book.metric} against the first model, "
        f"in the worst month {figures['worst_gain']:+.4f}; {figures['trainings']} trainings "
        f"({figures['refused']} refused by the gate), {figures['released']} releases, "
        f"{figures['rolled_back']} roll-backs.",
        highlight=False,
    )
    out.print(f"Table: {book.file}\nPlot:  {plot}\nDone in {seconds:.0f} s.", highlight=False)
