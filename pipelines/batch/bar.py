"""A progress bar on a terminal; a line at every tenth elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.progress import say


@contextmanager
def progress_bar(what: str, total: int, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how much of `total` is done; the block calls what it is given with how much more has been done."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, total, done)
        return
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(what, total=total, completed=done)
        yield lambda count: progress.advance(task, count)


def _lines(what: str, total: int, done: int) -> Callable[[int], None]:
    state = {"done": done, "tenth": 10 * done // total}

    def advance(count: int) -> None:
        state["done"] += count
        tenth = 10 * state["done"] // total
        if tenth > state["tenth"]:
            state["tenth"] = tenth
            say(f"  {what}: {state['done']} of {total} rows")

    return advance
