"""Measures the platform on this machine: `make bench`, or `python -m benchmarks [--demo]`.

--demo: also `make demo` in clean clones, with an empty and with a warm package cache (downloads gigabytes).
"""

from __future__ import annotations

import sys

from benchmarks import demo, loop, stack
from benchmarks.row import Row
from platform_cli.home import find_home
from tools.scratch import new_stack


def main() -> None:
    """Run the measurements and print a line for each figure: what it is, the figure, what we aim at."""
    scratch = new_stack(find_home().envs)
    try:
        _show(stack.measure(scratch))
        _show(loop.measure(scratch))
    finally:
        scratch.platform("down", "--purge", "--yes")
    if "--demo" in sys.argv:
        _show(demo.measure())


def _show(rows: list[Row]) -> None:
    for row in rows:
        print(f"{row.what:<58} {row.value:>22}   {row.aim}", flush=True)


if __name__ == "__main__":
    main()
