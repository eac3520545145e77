"""A trace on one screen."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipelines.lineage.history import LINKS

Facts = dict[str, Any]
SHOWN_FILES = 4
SHOWN_METRICS = 4


def screen(trace: Facts) -> Table:
    """The links of `trace` (as `Trace.as_json` gives it) from the prediction down to the files."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for link in LINKS:
        lines = _LINES[link](trace[link]) if trace[link] else []
        if link in trace["notes"]:
            mark = "[red]missing:[/] " if link in trace["missing"] else "[dim]none:[/] "
            lines.append(mark + escape(trace["notes"][link]))
        table.add_row(link.replace("_", " "), "\n".join(lines) or "[dim]none[/]")
    return table


def when(moment: datetime | None) -> str:
    """A moment as people read it, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment else "at an unknown time"


def _of_prediction(it: Facts) -> list[str]:
    lines = [
        f"{it['prediction_id']}  {when(it['created_at'])}, asked by {escape(it['caller'])}, {it['latency_ms']:.1f} ms",
        f"{escape(it['entity_key'] or 'no entity key')} → {_answer(it)}",
    ]
    return lines + [f"{row['role']} version {row['version']} said {_answer(row)}" for row in it["shadows"]]


def _answer(it: Facts) -> str:
    share = it["probability"]
    return json.dumps(it["prediction"]) + (f" (probability {share:.4f})" if share is not None else "")


def _of_model(it: Facts) -> list[str]:
    aliases = f", now {' and '.join(it['aliases'])}" if it["aliases"] else ""
    return [
        f"{it['name']} version {it['version']}{aliases}; gate: {escape(it['gate'] or 'unknown')}",
        f"registered {when(it['registered_at'])} by {escape(it['registered_by'] or 'unknown')}; {it['url']}",
    ]


def _of_run(it: Facts) -> list[str]:
    window = f", on {it['train_from'][:10]} to {it['train_to'][:10]}" if it["train_from"] else ""
    names = list(it["metrics"])[:SHOWN_METRICS]
    metrics = ", ".join(f"{name.removeprefix('test_')} {it['metrics'][name]:.4f}" for name in names)
    return [
        f"{it['run_id']}  trained {when(it['started_at'])}{window}",
        *([f"test window: {metrics}"] if metrics else []),
        f"by {escape(it['started_by'] or 'unknown')}; {it['url']}",
    ]


def _of_code(it: Facts) -> list[str]:
    subject = f"  {escape(it['subject'])}" if it["subject"] else ""
    changed = "" if it["clean"] else "  [yellow](with changes that are in no commit)[/]"
    return [f"commit {escape(it['commit'])}{subject}{changed}"]


def _of_snapshot(it: Facts) -> list[str]:
    if not it["rows"]:
        return [it["uri"]]
    return [it["uri"], f"{it['rows']} rows, {it['from'][:10]} to {it['to'][:10]}, taken {when(it['taken_at'])}"]


def _of_dbt_run(it: Facts) -> list[str]:
    tests = ", ".join(f"{count} {status}" for status, count in it["tests"].items()) or "none"
    return [
        f"{it['invocation_id']}  {when(it['ended_at'])}, dbt {it['dbt_version']}",
        f"{it['table']} from {', '.join(it['inputs'])}; {it['models']} models built, tests: {tests}",
    ]


def _of_sync(it: list[Facts]) -> list[str]:
    return [
        f"{row['connection']} by {row['connector']}, {when(row['ended_at'])}: "
        + ", ".join(f"{rows} rows into {table}" for table, rows in row["streams"].items())
        for row in it
    ]


def _of_files(it: list[Facts]) -> list[str]:
    newest = sorted(it, key=lambda file: file["synced_at"], reverse=True)[:SHOWN_FILES]
    lines = [f"{escape(file['uri'])} ({file['rows']} rows)" for file in newest]
    if more := len(it) - len(lines):
        lines.append(f"… and {more} more ({sum(file['rows'] for file in it)} rows in all)")
    return lines


_LINES: dict[str, Callable[[Any], list[str]]] = {
    "prediction": _of_prediction,
    "model": _of_model,
    "run": _of_run,
    "code": _of_code,
    "snapshot": _of_snapshot,
    "dbt_run": _of_dbt_run,
    "sync": _of_sync,
    "files": _of_files,
}
