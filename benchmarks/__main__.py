"""Measures the platform on this machine: `make bench`, or `python -m benchmarks [--demo]`.

--demo: also `make demo` in clean clones, with an empty and with a warm package cache (downloads gigabytes).
"""

from __future__ import annotations

import sys

from benchmarks import demo, loop, stack
from platform_cli.home import find_home
from tools.scratch import new_stack


def main() -> None:
    """Run the measurements and print a line each."""
    rows = []
    if "--demo" in sys.argv:
        rows += demo.measure()
    scratch = new_stack(find_home().envs)
    try:
        rows += stack.measure(scratch)
        rows += loop.measure(scratch)
    finally:
        scratch.platform("down", "--purge", "--yes")
    print(f"\n{'what':<58} {'measured':>12}   aim")
    for row in rows:
        print(f"{row.what:<58} {row.value:>12}   {row.aim}")


if __name__ == "__main__":
    main()
