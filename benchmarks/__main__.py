"""Measures the platform on this machine: `make bench`, or `python -m benchmarks [--demo]`.

--demo: also `make demo` in clean clones, with an empty and with a warm package cache (downloads gigabytes).
"""

from __future__ import annotations

import sys

from benchmarks import demo, loop, stack
from benchmarks.row import show
from platform_cli.home import find_home
from tools.scratch import new_stack


def main() -> None:
    """Run the measurements and print a line for each figure: what it is, the figure, what we aim at."""
    scratch = new_stack(find_home().envs)
    try:
        show(stack.measure(scratch))
        show(loop.measure(scratch))
    finally:
        scratch.platform("down", "--purge", "--yes")
    if "--demo" in sys.argv:
        show(demo.measure())


if __name__ == "__main__":
    main()
