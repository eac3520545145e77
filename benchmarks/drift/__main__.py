"""`make bench-drift`, or `python -m benchmarks.drift [--trials N]`: prints the tables of docs/monitoring.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from platform_cli.home import REPO, find_home

SAMPLES = (500, 5_000, 50_000)
QUIET = {"DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift")
    parser.add_argument("--trials", type=int, default=400, help="looks for each number of rows (default: 400)")
    trials = parser.parse_args().trials
    print(_speed())
    print(_alarms(trials))


def _speed() -> str:
    lines = ["| 1,000,000 rows × 20 columns | seconds | processor, with imports | peak memory |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="bench-drift-", dir="/var/tmp") as directory:
        made = _run("files", directory)
        for module, name in (("sketched", "platform"), ("evidently_default", "Evidently, its defaults")):
            its = _run(module, directory)
            lines.append(f"| {name} | {its['seconds']:.1f} s | {its['cpu_seconds']:.1f} s | {its['peak_mb']:.0f} MB |")
    return "\n".join(
        [*lines, f"\nThe platform's baseline: {made['baseline_bytes'] / 1000:.0f} kB, made at training.\n"]
    )


def _alarms(trials: int) -> str:
    results = [_run("alarms", str(rows), str(trials)) for rows in SAMPLES]
    heads = "".join(f" n = {result['rows']:,} |" for result in results)
    lines = [f"| false alarms / moved column found |{heads}", "|---|" + "---|" * len(results)]
    for name in results[0]["shares"]:
        cells = [result["shares"][name] for result in results]
        lines.append(f"| {name} |" + "".join(f" {cell['alarms']:.1%} / {cell['found']:.0%} |" for cell in cells))
    looks = "; ".join(f"{name}: {count}" for name, count in results[0]["looks"].items())
    return "\n".join([*lines, f"\nLooks for each n: {looks}.\n"])


def _run(module: str, *arguments: str) -> Any:
    """What the module prints last, run in the environment of the pipelines."""
    print(f"{module} {' '.join(arguments)}", file=sys.stderr, flush=True)
    command = [str(find_home().envs / "pipelines/bin/python"), "-m", f"benchmarks.drift.{module}", *arguments]
    path = {"PYTHONPATH": str(Path(REPO))}
    done = subprocess.run(command, env=os.environ | QUIET | path, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
