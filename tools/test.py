"""Runs the tests of each package inside that package's own environment, and closes with the count of all.

test.py [unit|programs|docker|clients|live|e2e|year|all] [PYTEST ARGUMENTS…]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from platform_cli.home import REPO, find_home

ENVS = find_home().envs
OVERLAYS = {name: REPO / "tests" / f"{name}.txt" for name in ("pytest", "browser")}
"""Directories that are laid over components' environments, and their locks."""
TEST_ENVS = {name: REPO / "tests" / f"{name}.txt" for name in ("clients", "coder")}
"""Environments that only tests have, beside the components' own, and their locks."""
NO_TESTS = 5


@dataclass(frozen=True)
class Suite:
    """Tests that run in one environment; `env` is None for that of the command itself.

    `without` are paths below `paths` that another suite runs; `overlays` are laid over the environment. Beside others,
    what a suite with a `label` says is shown as it comes, behind the label; else in the end.
    """

    env: str | None
    paths: tuple[str, ...]
    without: tuple[str, ...] = ()
    overlays: tuple[str, ...] = ("pytest",)
    label: str = ""

    @property
    def name(self) -> str:
        left_out = f" without {' '.join(self.without)}" if self.without else ""
        return f"{' '.join(self.paths)}{left_out}  (environment {self.env or 'of the command'})"

    @property
    def python(self) -> Path:
        if self.env is None:
            return Path(sys.executable)
        return (ENVS.parent if self.env in TEST_ENVS else ENVS) / self.env / "bin" / "python"


@dataclass(frozen=True)
class Result:
    """How a suite ended; `counts` are those of passed, failed and skipped tests."""

    code: int
    counts: tuple[int, int, int]
    seconds: float


# Two suites share a package whose tests take long, so that no core waits for the other in the end.
_SERVING = ("tests/serving/journal", "tests/serving/protocols")
_PIPELINES = ("tests/pipelines/data", "tests/pipelines/batch", "tests/pipelines/monitoring", "tests/pipelines/lineage")
_SERVER = ("tests/serving/test_directory_server.py",)
_WORKERS = ("tests/pipelines/authoring", "tests/pipelines/training/test_limits.py")

# These need no service: they run at the same time, one a core, and begin in this order, the longest first.
UNIT = (
    Suite("serving", ("tests/serving",), without=_SERVING + _SERVER),
    Suite("serving", _SERVING),
    Suite("pipelines", ("tests/pipelines", "tests/contract"), without=_PIPELINES + _WORKERS),
    Suite("pipelines", _PIPELINES),
    Suite("airflow", ("tests/dags",)),
    Suite("mlflow", ("tests/compose",)),
    Suite(None, ("tests/platform_cli", "tests/benchmarks"), overlays=()),
)
# So do these, but each test starts programs that take seconds: a JVM, dbt, Airflow, Terraform, a worker, a server,
# Alertmanager.
PROGRAMS = (
    Suite("spark", ("tests/spark",)),
    Suite("pipelines", _WORKERS),
    Suite("coder", ("tests/coder",)),
    Suite("serving", _SERVER),
    Suite(None, ("tests/alertmanager",), overlays=()),
)
# These need a container engine: they build the stack's images, which leaves a core to others, and bring the stack up.
DOCKER = Suite(None, ("tests/docker",), overlays=("browser",), label="containers")
# These start a server.
REAL_CLIENTS = Suite("clients", ("tests/clients",))
# These measure one under load, so nothing runs beside them.
LIVE = Suite("serving", ("tests/live",))
# Stacks side by side: a test on a stack waits for it a third of the time. What makes a stack of its own comes first,
# before there is a shared one that would stand beside it.
_E2E = ("pytest", "browser")
_LOOP = tuple(f"tests/e2e/test_{name}.py" for name in ("second_project", "loop", "loop_dashboards", "workspaces"))
_SERVICES = tuple(
    f"tests/e2e/test_{name}.py" for name in ("runtime", "security", "user_changes", "user_roles", "serving")
)
E2E = (
    Suite("pipelines", _LOOP, overlays=_E2E, label="loop"),
    Suite("pipelines", ("tests/e2e",), without=_LOOP + _SERVICES, overlays=_E2E, label="steps"),
    Suite("pipelines", _SERVICES, overlays=_E2E, label="services"),
)
# The sample's year takes longer than it is worth each time.
YEAR = Suite("pipelines", ("tests/year",))
SUITES: dict[str, tuple[tuple[Suite, ...], ...]] = {
    "unit": (UNIT,),
    "programs": (PROGRAMS,),
    "docker": ((DOCKER,),),
    "clients": ((REAL_CLIENTS,),),
    "live": ((LIVE,),),
    "e2e": (E2E,),
    "year": ((YEAR,),),
    "all": ((DOCKER, *UNIT, *PROGRAMS, REAL_CLIENTS, *E2E), (LIVE,)),
}
"""Phases, one after the other (`all` is without the year); the suites of a phase run at the same time."""


def main() -> int:
    """Run the suites and return the exit code: 0 if everything passed."""
    kind = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] in SUITES else "all"
    arguments = [word for word in sys.argv[1:] if word not in SUITES]
    suites = [suite for phase in SUITES[kind] for suite in phase]
    for name in {name for suite in suites for name in suite.overlays}:
        _make_overlay(name)
    for name in TEST_ENVS.keys() & {suite.env for suite in suites}:
        _make_test_env(name)
    results = [
        result
        for phase in SUITES[kind]
        for result in (_run_together(phase, arguments) if len(phase) > 1 else [_run_alone(phase[0], arguments)])
    ]
    passed, failed, skipped = (sum(result.counts[which] for result in results) for which in range(3))
    if os.environ.get("CI") and skipped:
        print("\nA skipped test is a failure in CI: something that it needs is missing.")
        failed, skipped = failed + skipped, 0
    broken = any(result.code not in (0, NO_TESTS) for result in results)
    failed = max(failed, int(broken or passed == 0))
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped")
    return int(failed > 0)


def _run_alone(suite: Suite, arguments: list[str]) -> Result:
    """Run a suite whose output is shown as it comes."""
    print(f"\n== {suite.name}", flush=True)
    result = _run(suite, arguments, None)
    print(f"-- {result.seconds:.0f} s", flush=True)
    return result


def _run_together(suites: Sequence[Suite], arguments: list[str]) -> list[Result]:
    """Run as many suites at a time as there are cores."""
    running: dict[Suite, None] = {}
    lock = Lock()

    def run(suite: Suite) -> Result:
        said: list[str] = []

        def tell(line: str) -> None:
            if suite.label:
                print(f"[{suite.label}] {line}", end="", flush=True)
            else:
                said.append(line)

        with lock:
            running[suite] = None
            print(f"running {suite.name}", flush=True)
        result = _run(suite, arguments, tell)
        with lock:
            del running[suite]
            print(f"\n== {suite.name}\n{''.join(said).rstrip()}\n-- {result.seconds:.0f} s", flush=True)
            for other in running:
                print(f"   still running {other.name}", flush=True)
        return result

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            return list(pool.map(run, suites))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run(suite: Suite, arguments: list[str], tell: Callable[[str], None] | None) -> Result:
    """Run a suite; with `tell` it gets each line of the output, and the suite is held to one core."""
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONDONTWRITEBYTECODE",)}
    variables["PLATFORM_TEST_ENVS"] = str(ENVS)
    variables["PYTHONPATH"] = os.pathsep.join([str(REPO), *(str(ENVS.parent / name) for name in suite.overlays)])
    words = [f"--ignore={path}" for path in suite.without]
    if tell is not None:
        # Threads that wait for each other by spinning make many small fits slow wherever cores are shared.
        variables.setdefault("OMP_NUM_THREADS", "1")
        words += ["--color=yes"] if sys.stdout.isatty() else []
    # a line for each file, where lines are shown as they come
    words += ["-v"] if suite.label else []
    began = time.monotonic()
    with TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [str(suite.python), "-m", "pytest", *suite.paths, f"--junit-xml={report}", *words, *arguments]
        if tell is None:
            code = subprocess.run(command, cwd=REPO, env=variables, check=False).returncode
        else:
            code = _run_told(command, variables, tell)
        return Result(code, _counts(report), time.monotonic() - began)


def _run_told(command: list[str], variables: dict[str, str], tell: Callable[[str], None]) -> int:
    with subprocess.Popen(
        command,
        cwd=REPO,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            tell(line)
    return process.returncode


def _make_overlay(name: str) -> None:
    """Install what tests need into a directory of its own, once for each state of its lock."""
    directory, lock = ENVS.parent / name, OVERLAYS[name]
    if not _is_installed(directory, lock):
        _install(directory, lock, "--target", str(directory))


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
