"""Shows what runs at the moment, and for how long: a live table on a terminal, a line a step elsewhere."""

from __future__ import annotations

import threading
import time
from types import TracebackType

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

BAD = frozenset({"failed", "not available", "not awaited", "not made"})


class Progress:
    """The steps of one command. Used as a context; its methods may be called from several threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._open: dict[str, tuple[str, float]] = {}
        self._notes: dict[str, str] = {}
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=8, transient=True)
        self.changed = 0

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def begin(self, name: str, what: str) -> None:
        """A step has begun."""
        with self._lock:
            self._open[name] = (what, time.monotonic())

    def note(self, name: str, text: str) -> None:
        """Something worth saying about a step; a repeated text is said once."""
        with self._lock:
            if self._notes.get(name) != text:
                self._notes[name] = text
                self._console.print(f"[yellow]![/] {name:<32} {text}")

    def end(self, name: str, result: str, *, detail: str = "") -> None:
        """A step has ended; its line stays."""
        with self._lock:
            _, began = self._open.pop(name, ("", time.monotonic()))
            self.changed += 1
            mark = "[red]✗[/]" if result in BAD else "[green]✓[/]"
            seconds = f"{time.monotonic() - began:6.1f} s"
            self._console.print(f"{mark} {name:<32} {result:<14} {seconds}  {detail}".rstrip(), highlight=False)

    def _table(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        with self._lock:
            for name, (what, began) in self._open.items():
                table.add_row(Spinner("dots"), f"{name:<32}", f"{what:<14}", f"{time.monotonic() - began:6.1f} s")
        return table
