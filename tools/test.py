"""Runs the tests of each package inside that package's own environment, and closes with the count of all.

test.py [unit|e2e|all] [PYTEST ARGUMENTS…]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from platform_cli.home import REPO, find_home

ENVS = find_home().envs
OVERLAY = ENVS.parent / "pytest"
LOCK = REPO / "tests" / "pytest.txt"
NO_TESTS = 5


@dataclass(frozen=True)
class Suite:
    """Tests that run in one environment; `env` is None for that of the command itself."""

    env: str | None
    paths: tuple[str, ...]

    @property
    def python(self) -> Path:
        return Path(sys.executable) if self.env is None else ENVS / self.env / "bin" / "python"


UNIT = (
    Suite(None, ("tests/platform_cli",)),
    Suite("pipelines", ("tests/pipelines", "tests/contract")),
    Suite("serving", ("tests/serving",)),
    Suite("airflow", ("tests/dags",)),
)
E2E = (Suite("pipelines", ("tests/e2e",)),)
SUITES = {"unit": UNIT, "e2e": E2E, "all": UNIT + E2E}


def main() -> int:
    """Run the suites and return the exit code: 0 if everything passed."""
    kind = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in SUITES else "all"
    arguments = [word for word in sys.argv[1:] if word not in SUITES]
    _make_overlay()
    passed = failed = skipped = 0
    broken = False
    with TemporaryDirectory() as scratch:
        for number, suite in enumerate(SUITES[kind]):
            report = Path(scratch) / f"{number}.xml"
            began = time.monotonic()
            print(f"\n== {' '.join(suite.paths)}  (environment {suite.env or 'of the command'})", flush=True)
            code = _run(suite, report, arguments)
            print(f"-- {time.monotonic() - began:.0f} s", flush=True)
            broken = broken or code not in (0, NO_TESTS)
            counts = _counts(report)
            passed, failed, skipped = passed + counts[0], failed + counts[1], skipped + counts[2]
    if os.environ.get("CI") and skipped:
        print("\nA skipped test is a failure in CI: something that it needs is missing.")
        failed, skipped = failed + skipped, 0
    failed = max(failed, int(broken or passed == 0))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0)


def _run(suite: Suite, report: Path, arguments: list[str]) -> int:
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONDONTWRITEBYTECODE",)}
    variables["PLATFORM_TEST_ENVS"] = str(ENVS)
    variables["PYTHONPATH"] = os.pathsep.join([str(REPO), *([str(OVERLAY)] if suite.env else [])])
    command = [str(suite.python), "-m", "pytest", *suite.paths, f"--junit-xml={report}", *arguments]
    return subprocess.run(command, cwd=REPO, env=variables, check=False).returncode


def _make_overlay() -> None:
    """Install pytest into a directory of its own, once for each state of its lock."""
    stamp = OVERLAY / ".lock"
    if stamp.exists() and stamp.read_text() == LOCK.read_text():
        return
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--quiet", "--target", str(OVERLAY), "--require-hashes", "-r", str(LOCK)]
    subprocess.run(command, check=True)
    stamp.write_text(LOCK.read_text())


def _counts(report: Path) -> tuple[int, int, int]:
    """Passed, failed, skipped."""
    if not report.exists():
        return 0, 1, 0
    suite = next(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - pytest wrote it a moment ago
    total, skipped = int(suite.attrib["tests"]), int(suite.attrib["skipped"])
    failed = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    return total - failed - skipped, failed, skipped


if __name__ == "__main__":
    sys.exit(main())
