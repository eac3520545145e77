"""PLATFORM_HOME: where everything that the platform writes goes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from platform_cli.errors import PlatformError

REPO = Path(__file__).resolve().parent.parent
SHARED_HOMES = Path("/var/lib/mlops-platform")
MARK = ".platform-home"
PREFIX = "mlops"


@dataclass(frozen=True)
class Home:
    """The directories of one stack."""

    root: Path

    @property
    def envs(self) -> Path:
        return self.root / "envs"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def workspaces(self) -> Path:
        return self.root / "workspaces"

    @property
    def people(self) -> Path:
        """What opens the accounts of people's programs; made with the first person."""
        return self.root / "people"

    @property
    def settings_file(self) -> Path:
        return self.root / "platform.env"

    @property
    def secrets_file(self) -> Path:
        return self.root / "secrets.env"

    @property
    def runtime_file(self) -> Path:
        """Which runtime the stack has."""
        return self.state / "runtime"

    @property
    def rendered(self) -> Path:
        """What containers have mounted from this machine."""
        return self.root / "rendered"

    @property
    def compose_env(self) -> Path:
        """The variables that `docker compose` is given."""
        return self.root / "compose.env"

    @property
    def socket(self) -> Path:
        return self.run / "supervisor.sock"

    def log_of(self, service: str) -> Path:
        """The log file of a service or of an installation."""
        return self.logs / f"{service}.log"

    def make(self) -> None:
        """Create the directories. The root can be passed through but not listed, so that services of another user
        reach what is theirs; what holds secrets or logs is the owner's alone."""
        self.root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for directory, mode in (
            (self.envs, 0o755),
            (self.data, 0o711),
            (self.logs, 0o700),
            (self.state, 0o700),
            (self.run, 0o700),
            (self.state / "home", 0o700),
            (self.state / "tmp", 0o700),
            (self.state / "started", 0o700),
            (self.state / "workspaces", 0o700),
            (self.workspaces, 0o711),
        ):
            directory.mkdir(mode=mode, exist_ok=True)
        (self.root / MARK).touch()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Let no other command change this stack meanwhile. The lock goes when the process does, however it ends.

        Raises:
            PlatformError: another command holds it.
        """
        with (self.root / MARK).open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PlatformError(
                    "another `platform` command is starting or stopping this stack",
                    where=str(self.root),
                    do="wait for it to end, then try again",
                ) from None
            yield

    def purge(self) -> None:
        """Remove the whole directory, if it is one that `make` made.

        Raises:
            PlatformError: the directory has no mark, so it is not known to be the platform's.
        """
        if not self.root.exists():
            return
        if not (self.root / MARK).exists():
            raise PlatformError(
                "this directory was not made by the platform, so it is not removed",
                where=str(self.root),
                do="check PLATFORM_HOME",
            )
        shutil.rmtree(self.root)


def project_name(home: Home) -> str:
    """The name that containers, networks and volumes of this home begin with; another for each home."""
    if home.root == REPO / ".platform":
        return PREFIX
    return f"{PREFIX}-{hashlib.sha256(str(home.root).encode()).hexdigest()[:8]}"


def find_home() -> Home:
    """PLATFORM_HOME, or `.platform` in the checkout. A root user whose checkout other users cannot reach (below a
    home that is 0700) gets a directory under /var/lib, since PostgreSQL must run as another user."""
    named = os.environ.get("PLATFORM_HOME")
    if named:
        return Home(Path(named).expanduser().resolve())
    if os.geteuid() == 0 and unreachable_part(REPO) is not None:
        name = hashlib.sha256(str(REPO).encode()).hexdigest()[:8]
        return Home(SHARED_HOMES / f"{REPO.name}-{name}")
    return Home(REPO / ".platform")


def unreachable_part(path: Path) -> Path | None:
    """The first existing directory on the way to `path` that other users may not pass through, or None."""
    for directory in reversed([path, *path.parents]):
        if directory.exists() and not directory.stat().st_mode & stat.S_IXOTH:
            return directory
    return None


def user_exists(name: str) -> bool:
    """Whether the machine knows this user."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
