"""The sample's loop on a running stack: ingestion in rows a second, and each step's share of the time."""

from __future__ import annotations

import time

from benchmarks.row import Row
from tools.scratch import Stack

PROJECT = "flight_delay"
STEPS: tuple[tuple[str, ...], ...] = (
    ("land", "--months", "1-3"),
    ("inspect",),
    ("sync",),
    ("transform",),
    ("train",),
    ("evaluate",),
    ("register",),
    ("replay", "--month", "3"),
    ("monitor",),
)


def measure(stack: Stack) -> list[Row]:
    """Each step is run alone, from the shell: the time is that of the whole process, interpreter and imports
    included."""
    seconds: dict[str, float] = {}
    read = 0
    for step, *options in STEPS:
        began = time.monotonic()
        result = stack.run_step(step, PROJECT, *options)
        seconds[step] = time.monotonic() - began
        if step == "sync":
            read = sum(stream["read"] for stream in result["streams"].values())
    total = sum(seconds.values())
    rows = [
        Row("ingestion of three months, rows", f"{read}"),
        Row("ingestion, rows a second (inspect and sync)", f"{read / (seconds['inspect'] + seconds['sync']):.0f}/s"),
        Row("the loop, step by step from the shell", f"{total:.1f} s"),
    ]
    return rows + [Row(f"  {step}", f"{s:.1f} s  {s / total:>4.0%}") for step, s in seconds.items()]
