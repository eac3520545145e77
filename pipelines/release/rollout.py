"""Carries a release from what is written in the store to what stands in the registry; begun again, it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from mlflow import MlflowClient

from contract import ALIAS_CHAMPION
from pipelines.progress import say
from pipelines.project import Release
from pipelines.release import actions, plan
from pipelines.release.store import Ending, Row

Marks = dict[str, Any]


class Book(Protocol):
    """What of the store a release needs."""

    def applied(self, row: Row, marks: Marks) -> Row:
        """See `store.Store.applied`."""

    def go_to(self, row: Row, step: int, who: str, reason: str) -> Row:
        """See `store.Store.go_to`."""

    def end(self, row: Row, ending: Ending, reason: str) -> Row:
        """See `store.Store.end`."""

    def ended(self, row: Row, who: str) -> Row:
        """See `store.Store.ended`."""


@dataclass(frozen=True)
class Rollout:
    """A release and what it acts on. `counters` reads what the model server has counted of it so far."""

    client: MlflowClient
    book: Book
    rules: Release
    who: str
    counters: Callable[[Row, str], Marks]

    def resume(self, row: Row) -> Row:
        """Finish what an earlier call has begun, and see whether somebody has moved the aliases meanwhile.

        The row is over afterwards, or its step stands in the registry.
        """
        if row.ending in ("rolled_back", "cancelled"):
            return self._finish(row)
        overtaken = self._overtaken(row)
        if overtaken is not None:
            return self.finish(row, *overtaken)
        if row.ending == "promoted":
            return self._finish(row)
        return row if row.applied else self._place(row)

    def advance(self, row: Row, step: int, reason: str) -> Row:
        """Go to the step `step`."""
        return self._place(self.book.go_to(row, step, self.who, reason))

    def finish(self, row: Row, ending: Ending, reason: str) -> Row:
        """End the release as `ending`."""
        return self._finish(self.book.end(row, ending, reason))

    def _overtaken(self, row: Row) -> tuple[Ending, str] | None:
        """How the release ends and why, if somebody else has changed what it is about."""
        if not actions.is_there(self.client, row):
            return "cancelled", "somebody has deleted the version"
        found = actions.aliases(self.client, row.project)
        champion = found.get(ALIAS_CHAMPION)
        if champion not in (row.champion, row.version):
            now = f"version {champion}" if champion else "no version any more"
            return "cancelled", f"the champion is now {now}, moved by somebody else"
        if row.ending == "promoted":
            return None
        if champion == row.version:
            return "promoted", "somebody else made it champion"
        if row.step >= len(self.rules.steps):
            return "cancelled", "the declaration has fewer steps now (release.steps)"
        alias = plan.placement(self.rules, row.step).alias
        taken_off = row.applied and found.get(alias) != row.version
        return ("cancelled", f"somebody else took the alias {alias} off it") if taken_off else None

    def _place(self, row: Row) -> Row:
        to = plan.placement(self.rules, row.step)
        actions.place(self.client, row, to)
        say(f"  {row.project} version {row.version}: {to.alias}" + (f", {to.share} %" if to.share else ""))
        return self.book.applied(row, self.counters(row, to.alias))

    def _finish(self, row: Row) -> Row:
        if row.ending == "promoted":
            actions.crown(self.client, row, self.who)
        else:
            actions.withdraw(self.client, row, f"{row.ending}: {row.reason}".replace("_", " ", 1))
        say(f"  {row.project} version {row.version}: {str(row.ending).replace('_', ' ')}: {row.reason}")
        return self.book.ended(row, self.who)
