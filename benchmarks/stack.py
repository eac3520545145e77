"""`platform up` and `down` of an installed stack, and the memory of the idle one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.row import Row
from platform_cli.local.processes import proportional_memory
from tools.scratch import Stack

ROUNDS = 3
SETTLE_SECONDS = 30
BUILD_SECONDS = 3600.0


def measure(
    stack: Stack, memory_of: Callable[[Stack], Counter[str]] | None = None, *, up_aim: str = "≤ 40 s"
) -> list[Row]:
    """Times are of the whole command. Memory is PSS unless `memory_of` tells it otherwise (bytes by service), read when
    the stack has been idle for half a minute."""
    first = timed(stack, "up")
    downs, ups = [], []
    for _ in range(ROUNDS):
        downs.append(timed(stack, "down"))
        ups.append(timed(stack, "up"))
    again = timed(stack, "up")
    time.sleep(SETTLE_SECONDS)
    memory = (memory_of or memory_by_service)(stack)
    rows = [
        Row("first up of an installed stack (databases are made)", f"{first:.1f} s"),
        Row(f"up of an installed stack to all healthy, of {ROUNDS}", _spread(ups), up_aim),
        Row(f"down, of {ROUNDS}", _spread(downs), "≤ 20 s"),
        Row("up when all is up", f"{again:.1f} s"),
        Row("memory of the idle stack", f"{sum(memory.values()) / 2**20:.0f} MB", "≤ 1800 MB"),
    ]
    return rows + [Row(f"  {name}", f"{size / 2**20:.0f} MB") for name, size in memory.most_common()]


def memory_by_service(stack: Stack) -> Counter[str]:
    """Proportional set size in bytes of all processes of each service, children that hide their environment (those of
    PostgreSQL) included."""
    parents = {int(entry.name): _parent(entry) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
    services = {pid: _service(pid) for pid in stack.processes()}
    sizes: Counter[str] = Counter()
    for pid in parents:
        marked = pid
        while marked and marked not in services:
            marked = parents.get(marked, 0)
        if marked:
            sizes[services[marked]] += proportional_memory(pid)
    return sizes


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def _service(pid: int) -> str:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(v for v in variables if v.startswith(b"PLATFORM_SERVICE=")).partition(b"=")[2].decode()


def timed(stack: Stack, *words: str) -> float:
    """Seconds that a call of `platform` took."""
    began = time.monotonic()
    stack.platform(*words, check=True, timeout=BUILD_SECONDS)
    return time.monotonic() - began


def _spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2]:.1f} s ({ordered[0]:.1f}–{ordered[-1]:.1f})"
