"""Runs the tests of each package inside that package's own environment, and closes with the count of all.

test.py [unit|clients|live|e2e|all] [PYTEST ARGUMENTS…]
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
TEST_ENVS = {name: REPO / "tests" / f"{name}.txt" for name in ("clients", "coder")}
"""Environments that only tests have, beside the components' own, and their locks."""
NO_TESTS = 5


@dataclass(frozen=True)
class Suite:
    """Tests that run in one environment; `env` is None for that of the command itself."""

    env: str | None
    paths: tuple[str, ...]

    @property
    def python(self) -> Path:
        if self.env is None:
            return Path(sys.executable)
        return (ENVS.parent if self.env in TEST_ENVS else ENVS) / self.env / "bin" / "python"


UNIT = (
    Suite(None, ("tests/platform_cli", "tests/benchmarks")),
    Suite("pipelines", ("tests/pipelines", "tests/contract")),
    Suite("serving", ("tests/serving",)),
    Suite("mlflow", ("tests/compose",)),
    Suite("airflow", ("tests/dags",)),
    Suite("spark", ("tests/spark",)),
    Suite("coder", ("tests/coder",)),
)
REAL_CLIENTS = (Suite("clients", ("tests/clients",)),)
LIVE = (Suite("serving", ("tests/live",)),)
E2E = (Suite("pipelines", ("tests/e2e",)),)
SUITES = {"unit": UNIT, "clients": REAL_CLIENTS, "live": LIVE, "e2e": E2E, "all": UNIT + REAL_CLIENTS + LIVE + E2E}


def main() -> int:
    """Run the suites and return the exit code: 0 if everything passed."""
    kind = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in SUITES else "all"
    arguments = [word for word in sys.argv[1:] if word not in SUITES]
    _make_overlay()
    for name in TEST_ENVS.keys() & {suite.env for suite in SUITES[kind]}:
        _make_test_env(name)
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
    if not _is_installed(OVERLAY, LOCK):
        _install(OVERLAY, LOCK, "--target", str(OVERLAY))


def _make_test_env(name: str) -> None:
    """Make an environment that only tests have, once for each state of its lock."""
    directory, lock = ENVS.parent / name, TEST_ENVS[name]
    if not _is_installed(directory, lock):
        subprocess.run([_uv(), "venv", "--quiet", "--clear", "--python", sys.executable, str(directory)], check=True)
        _install(directory, lock, "--python", str(directory / "bin" / "python"))


def _is_installed(directory: Path, lock: Path) -> bool:
    stamp = directory / ".lock"
    return stamp.exists() and stamp.read_text() == lock.read_text()


def _install(directory: Path, lock: Path, *where: str) -> None:
    subprocess.run([_uv(), "pip", "install", "--quiet", *where, "--require-hashes", "-r", str(lock)], check=True)
    (directory / ".lock").write_text(lock.read_text())


def _uv() -> str:
    return str(Path(sys.executable).with_name("uv"))


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
