"""The stack in containers: `make bench-containers`, or `python -m benchmarks.containers`. Needs a container engine.

Images that are missing are built first, from packages where no registry is; then `up`, `down`, `up` again, and memory.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from benchmarks import stack
from benchmarks.row import Row, show
from platform_cli.docker.engine import Engine
from platform_cli.home import Home, project_name
from tools.scratch import Stack, new_docker_stack

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def main() -> None:
    """Run the measurements and print a line for each figure."""
    scratch = new_docker_stack()
    try:
        began = stack.timed(scratch, "images", "build", "--from-packages")
        show([Row("images that were missing or had changed", f"{began:.0f} s"), *image_sizes(scratch)])
        show(stack.measure(scratch, memory_by_container, up_aim="≤ 60 s"))
    finally:
        scratch.platform("down", "--purge", "--yes")


def image_sizes(scratch: Stack) -> list[Row]:
    """Each image of the stack, as large as the engine counts it: layers that images share count in each."""
    listed = json.loads(scratch.platform("images", "list", "--json", check=True).stdout)
    return [Row(f"  {row['image']}", f"{row['size'] / 1e6:.0f} MB") for row in listed if row["size"]]


def memory_by_container(scratch: Stack) -> Counter[str]:
    """Memory in bytes that the engine counts for each service: without what the kernel keeps of files."""
    prefix = project_name(Home(scratch.home))
    words = ["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}"]
    sizes: Counter[str] = Counter()
    for line in Engine.find().run(*words, timeout=60).stdout.splitlines():
        found = re.match(rf"{prefix}-(\S+)-\d+ ([\d.]+)([KMG]?i?B) /", line)
        if found is not None:
            sizes[found[1]] += int(float(found[2]) * _UNITS[found[3]])
    return sizes


if __name__ == "__main__":
    main()
