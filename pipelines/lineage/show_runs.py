"""Pipeline runs as tables for people."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipelines.lineage.show_trace import when

Facts = dict[str, Any]
COLOURS = {"done": "green", "failed": "red", "skipped": "dim", "running": "yellow"}
SHOWN_LENGTH = 90
SHOWN_ARTIFACTS = 4


def run_list(runs: list[Facts]) -> Table:
    """One line a pipeline run."""
    table = _table("STARTED (UTC)", "STATE", "SECONDS", "PROJECT", "TRIGGER", "COMMIT", "STEPS", "ID")
    for run in runs:
        steps = " ".join(f"[{COLOURS[step['state']]}]{step['step']}[/]" for step in run["steps"])
        table.add_row(
            f"{run['started_at']:%Y-%m-%d %H:%M:%S}",
            _state(run["state"]),
            f"{run['seconds']:.0f}",
            run["project"],
            run["trigger"],
            run["commit"][:8] + ("*" if run["commit"].endswith("-dirty") else ""),
            steps,
            escape(run["id"]),
        )
    return table


def run_description(run: Facts) -> RenderableType:
    """One pipeline run: what started it, its steps, what each made."""
    head = Table.grid(padding=(0, 2))
    head.add_column(style="bold")
    started_from = f"champion version {run['started_from']}" if run["started_from"] else "no champion"
    for name, value in (
        ("pipeline run", f"{escape(run['id'])}  {_state(run['state'])}, {run['seconds']:.1f} s"),
        ("project", run["project"]),
        ("started", f"{when(run['started_at'])} by {escape(run['actor'])} ({run['trigger']})"),
        ("commit", run["commit"]),
        ("started from", started_from),
        ("components", ", ".join(f"{name} {version}" for name, version in sorted(run["versions"].items()))),
    ):
        head.add_row(name, value)
    steps = _table("STEP", "STATE", "STARTED", "SECONDS", "GIVEN", "OUTCOME AND ARTIFACTS")
    for step in run["steps"]:
        given = {name: value for name, value in step["parameters"].items() if value not in (None, False)}
        state = _state(step["state"]) + (f" ({step['attempts']} times)" if step["attempts"] > 1 else "")
        seconds = f"{step['seconds']:.1f}" if step["seconds"] is not None else ""
        said = "\n".join(escape(text) for text in [*_words(step["result"]), *step["artifacts"][:SHOWN_ARTIFACTS]])
        if step["error"]:
            said = f"[red]{escape(step['error'].splitlines()[0])}[/]"
        shown = escape(", ".join(f"{name}={_short(value)}" for name, value in given.items()))
        steps.add_row(step["step"], state, f"{step['started_at']:%H:%M:%S}", seconds, shown, said)
    for dbt in run["dbt_runs"]:
        seconds = f"{(dbt['ended_at'] - dbt['started_at']).total_seconds():.1f}"
        tests = ", ".join(f"{count} {status}" for status, count in dbt["tests"].items())
        said = f"{len(dbt['models'])} models; tests: {tests or 'none'}"
        steps.add_row("dbt", _state(dbt["state"]), f"{dbt['started_at']:%H:%M:%S}", seconds, "", said)
    return Group(head, Text(), steps)


def run_comparison(comparison: Facts) -> Table:
    """What differs between two pipeline runs."""
    first, second = comparison["first"], comparison["second"]
    table = _table("", *(escape(run["id"].rpartition("/")[2]) for run in (first, second)))
    table.add_row("started", when(first["started_at"]), when(second["started_at"]))
    for name, (one, other) in comparison["differences"].items():
        table.add_row(escape(name), escape(_short(one)), escape(_short(other)))
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _words(result: Facts | None) -> list[str]:
    """What a step says of its outcome: why a training was decided on, what the gate or the monitor found."""
    said = [(result or {}).get(name) for name in ("reason", "message", "gate")]
    return [text.splitlines()[0] for text in said if isinstance(text, str) and text]


def _state(state: str) -> str:
    return f"[{COLOURS[state]}]{state}[/]"


def _short(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
