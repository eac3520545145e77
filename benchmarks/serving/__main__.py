"""`make bench-serving`, or `python -m benchmarks.serving [--seconds N] [--repeat N] [--only NAME …]`.

Installs the peers' environments where they are missing, measures one server after the other, and prints the tables as
markdown; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.serving import foreign, ours
from benchmarks.serving.case import BODIES, Sample
from benchmarks.serving.environments import LOAD_GENERATOR, programs, serving_python
from benchmarks.serving.load import Load
from benchmarks.serving.peers import PEERS
from benchmarks.serving.processes import ONE_THREAD, QUIET, busy_share
from benchmarks.serving.table import markdown
from benchmarks.serving.target import WrongServer
from platform_cli.errors import PlatformError
from platform_cli.home import REPO, find_home

OURS = "ours"
_MODELS = ("numeric", "mixed")
_BUSY = 0.1
"""Share of the machine that other work may take before the figures are worth less."""


def main() -> int:
    """Measure and print; return the exit code."""
    names = [OURS, *(peer.name for peer in PEERS)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    parser.add_argument("--seconds", type=int, default=8, help="of each measured run (default: 8)")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each case; the median counts (default: 1)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    arguments = parser.parse_args()
    try:
        print(_measure(arguments.only, arguments.seconds, arguments.repeat))
    except (PlatformError, WrongServer) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    return 0


def _measure(names: list[str], seconds: int, repeat: int) -> str:
    home = find_home()
    python = serving_python(home)
    peers = [peer for peer in PEERS if peer.name in names]
    found = programs(home, [LOAD_GENERATOR, *(peer.env for peer in peers)])
    with tempfile.TemporaryDirectory(prefix="bench-serving-", dir="/var/tmp") as directory:
        scratch = Path(directory)
        samples = _make_samples(python, scratch / "models")
        load = Load(found[LOAD_GENERATOR] / "wrk", scratch, seconds, repeat)
        busy, lines = [busy_share()], []
        if OURS in names:
            lines += ours.measure(home, python, samples, load, scratch)
        for peer in peers:
            busy.append(busy_share())
            lines.append(foreign.measure(peer, found[peer.env], samples, load, scratch))
    return markdown(lines, _note(seconds, repeat, max(busy)))


def _make_samples(python: Path, directory: Path) -> dict[str, Sample]:
    rows = max(count * rows for rows, count in BODIES.items())
    subprocess.run(
        [str(python), "-m", "tools.sample_models", str(directory), "--rows", str(rows), *_MODELS],
        cwd=REPO,
        env=os.environ | QUIET | ONE_THREAD,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return {name: Sample(directory / name) for name in _MODELS}


def _note(seconds: int, repeat: int, busy: float) -> str:
    runs = f"the median of {repeat} runs of {seconds} s" if repeat > 1 else f"one run of {seconds} s"
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}. One server at a time, one worker process and one "
        f"OpenMP thread each; wrk with one thread beside it, on kept-alive connections; each figure is {runs} after a "
        "warm-up. All are sent the same rows, many different ones in turn, each server in its own JSON. This server "
        "checks keys and input, counts, gives a canary a tenth of the requests and writes the journal (`relaxed` where "
        "nothing else is said), which is shipped to a PostgreSQL on the same machine meanwhile."
        + (f" **The machine had other work: up to {busy:.0%} of it between the servers.**" if busy > _BUSY else "")
    )


if __name__ == "__main__":
    sys.exit(main())
