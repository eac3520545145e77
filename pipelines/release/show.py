"""Versions and releases as tables for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from contract import ALIAS_CHAMPION
from pipelines.release.models import Facts

SHOWN_LENGTH = 100
COLOURS = {"promoted": "green", "rolled_back": "red", "cancelled": "yellow", "running": "cyan"}


def version_list(versions: list[Facts]) -> Table:
    """One line a version."""
    table = _table("MODEL", "VERSION", "ALIASES", "METRIC", "GATE", "RELEASE", "MADE (UTC)", "BY")
    for version in versions:
        aliases = ", ".join(f"[bold green]{name}[/]" if name == ALIAS_CHAMPION else name for name in version["aliases"])
        table.add_row(
            version["model"],
            str(version["version"]),
            aliases,
            _metric(version),
            _gate(version["gate"]),
            escape(_short(version["release"])),
            _when(version["created_at"]),
            escape(version["actor"] or "-"),
        )
    return table


def version_description(version: Facts) -> RenderableType:
    """Everything about one version."""
    head = Table.grid(padding=(0, 2))
    head.add_column(style="bold")
    head.add_column(overflow="fold")
    aliases = ", ".join(version["aliases"]) or "no alias"
    for name, value in (
        ("version", f"{version['model']} {version['version']}: {aliases}"),
        ("made", f"{_when(version['created_at'])} by {version['actor'] or '-'}"),
        ("gate", version["gate"]),
        ("release", version["release"]),
        ("promoted", version["promoted"]),
        ("champion before", version["previous_champion"]),
        ("model server", version["serving"]),
        ("metrics", ", ".join(f"{name} {value:.4g}" for name, value in version["metrics"].items())),
        ("features", ", ".join(version["features"])),
        ("data", version["snapshot"]),
        ("code", version["commit"]),
        ("card", version["card_url"]),
        ("run", version["run_url"]),
    ):
        if value:
            head.add_row(name, escape(str(value)))
    parts: list[RenderableType] = [head]
    if version["releases"]:
        parts += [Text(), _releases(version["releases"])]
    if version["reports"]:
        parts += [Text(), _reports(version["reports"], version["metric"])]
    return Group(*parts)


def version_comparison(comparison: Facts) -> Table:
    """What differs between two versions."""
    first, second = comparison["first"], comparison["second"]
    table = _table("", *(f"version {side['version']}" for side in (first, second)))
    for name in ("aliases", "release", "created_at"):
        table.add_row(name.replace("_", " "), *(escape(_short(side[name])) for side in (first, second)))
    for name, (one, other) in comparison["differences"].items():
        change = f"  ({other - one:+.4g})" if isinstance(one, float) and isinstance(other, float) else ""
        table.add_row(escape(name), escape(_short(one)), escape(_short(other)) + change)
    return table


def moved(done: Facts) -> Text:
    """What a call of a person has done."""
    if done["cancelled"] is not None and done["version"] == done["previous"]:
        return Text(f"the release of version {done['cancelled']} is ended; version {done['version']} stays champion")
    text = f"{done['model']} version {done['version']} is champion; before: {done['previous'] or 'none'}"
    ended = f"; the release of version {done['cancelled']} is ended" if done["cancelled"] is not None else ""
    return Text(f"{text}{ended} (by {done['actor']})")


def _releases(releases: list[Facts]) -> Table:
    table = _table("RELEASE", "STATE", "AGAINST", "BEGAN (UTC)", "ENDED", "BY", "WHY")
    for release in releases:
        state = release["state"]
        table.add_row(
            f"{release['release']} {release['strategy']}",
            f"[{COLOURS[state]}]{state.replace('_', ' ')}[/]",
            str(release["champion"] or "-"),
            _when(release["started_at"]),
            _when(release["ended_at"]),
            escape(release["actor"]),
            escape(release["reason"] or f"step {release['step']}"),
        )
    return table


def _reports(reports: list[Facts], metric: str | None) -> Table:
    table = _table("MONITORED (UTC)", "PREDICTIONS", "LABELLED", "DRIFT", "PERFORMANCE", "REPORT")
    for report in reports:
        value = (report["performance"] or {}).get(metric)
        table.add_row(
            _when(report["monitored_at"]),
            str(report["predictions"]),
            str(report["labelled"]),
            f"{'[red]yes[/]' if report['drift'] else 'no'} ({report['drift_share']:.0%} of columns)",
            f"{metric} {value:.4f}" if value is not None else "-",
            escape(report["report_url"]),
        )
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _metric(version: Facts) -> str:
    return f"{version['metric']} {version['value']:.4f}" if version["metric"] else "-"


def _gate(verdict: str | None) -> str:
    if verdict is None:
        return "-"
    return "[green]passed[/]" if verdict == "passed" else f"[red]{escape(_short(verdict))}[/]"


def _when(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "-"


def _short(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return _when(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 1]}…"
