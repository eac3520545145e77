"""`make demo` in a clean clone, as a newcomer types it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.row import Row
from tools.scratch import REPO

LIMIT_SECONDS = 1800


def measure() -> list[Row]:
    """Twice: with an empty package cache, then with the cache that this has filled. The default ports must be free."""
    directory = Path(tempfile.mkdtemp(prefix="platform-demo-", dir="/var/tmp"))
    directory.chmod(0o711)
    try:
        cold = _demo(directory, "cold")
        warm = _demo(directory, "warm")
    finally:
        shutil.rmtree(directory)
    return [
        Row("make demo, clean clone, empty package cache", f"{cold:.0f} s", "≤ 480 s"),
        Row("make demo, clean clone, warm package cache", f"{warm:.0f} s", "≤ 300 s"),
    ]


def _demo(directory: Path, name: str) -> float:
    clone = directory / name
    subprocess.run(["git", "clone", "--quiet", str(REPO), str(clone)], check=True)
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("PLATFORM_", "PYTHON"))}
    variables |= {"UV_CACHE_DIR": str(directory / "uv"), "PIP_CACHE_DIR": str(directory / "pip")}
    try:
        began = time.monotonic()
        subprocess.run(["make", "demo"], cwd=clone, env=variables, check=True, timeout=LIMIT_SECONDS)
        return time.monotonic() - began
    finally:
        subprocess.run([".venv/bin/platform", "down", "--purge", "--yes"], cwd=clone, env=variables, check=False)
