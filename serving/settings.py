"""Settings of the model server, read once from the environment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, get_args

from serving.errors import SettingsError
from serving.keys.key import Key
from serving.keys.keyring import parse_builtin_keys

T = TypeVar("T")

Durability = Literal["relaxed", "strict"]
AccessLog = Literal["errors", "all"]
DURABILITIES, ACCESS_LOGS = get_args(Durability), get_args(AccessLog)


@dataclass(frozen=True)
class Settings:
    """What the server needs to know. Secrets stay out of its repr."""

    host: str
    port: int
    tracking_uri: str
    api_keys: Sequence[Key] = field(repr=False)
    """Keys that came with the settings, by their hashes."""
    webhook_secret: str = field(repr=False)
    data_dir: Path
    workers: int = 1
    """Processes that answer requests."""
    threads: int = 0
    """Predictions that run at the same time in a process; 0: as many as there are cores."""
    poll_seconds: float = 5.0
    max_body_bytes: int = 8 * 1024 * 1024
    max_batch_bytes: int = 2 * 1024 * 1024 * 1024
    durability: Durability = "relaxed"
    """`strict`: an answer leaves when its journal entry is on the disk; `relaxed`: when the kernel has it."""
    sync_seconds: float = 1.0
    """Window of `relaxed`: what a crash of the machine can lose."""
    journal_max_bytes: int = 8 * 1024 * 1024 * 1024
    allow_pickle: bool = False
    access_log: AccessLog = "errors"

    @property
    def cache_dir(self) -> Path:
        """Where artifacts of versions are kept."""
        return self.data_dir / "cache"

    @property
    def journal_dir(self) -> Path:
        """Where predictions are written down first."""
        return self.data_dir / "journal"

    @property
    def keys_file(self) -> Path:
        """The keys that were made while the server ran."""
        return self.data_dir / "keys.json"

    @property
    def figures_dir(self) -> Path:
        """Where worker processes share their figures."""
        return self.data_dir / "figures"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            SettingsError: one or more variables are missing or wrong; all are named.
        """
        reader = _Reader(env)
        settings = reader.build(cls)
        if reader.problems or settings is None:
            raise SettingsError("wrong settings of the model server:\n  " + "\n  ".join(reader.problems))
        return settings


class _Reader:
    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.problems: list[str] = []

    def build(self, cls: type[Settings]) -> Settings | None:
        values = {
            "host": self.read("SERVING_HOST", _text),
            "port": self.read("SERVING_PORT", _port),
            "tracking_uri": self.read("MLFLOW_TRACKING_URI", _text),
            "api_keys": self.read("SERVING_API_KEYS", parse_builtin_keys),
            "webhook_secret": self.read("SERVING_WEBHOOK_SECRET", _text),
            "data_dir": self.read("SERVING_DATA_DIR", Path),
            "workers": self.read("SERVING_WORKERS", _count, cls.workers),
            "threads": self.read("SERVING_THREADS", _count, cls.threads),
            "poll_seconds": self.read("SERVING_POLL_SECONDS", _positive, cls.poll_seconds),
            "max_body_bytes": self.read("SERVING_MAX_BODY_BYTES", _count, cls.max_body_bytes),
            "max_batch_bytes": self.read("SERVING_MAX_BATCH_BYTES", _count, cls.max_batch_bytes),
            "durability": self.read("SERVING_JOURNAL_DURABILITY", _one_of(*DURABILITIES), cls.durability),
            "sync_seconds": self.read("SERVING_JOURNAL_SYNC_SECONDS", _positive, cls.sync_seconds),
            "journal_max_bytes": self.read("SERVING_JOURNAL_MAX_BYTES", _count, cls.journal_max_bytes),
            "allow_pickle": self.read("SERVING_ALLOW_PICKLE", _yes_or_no, cls.allow_pickle),
            "access_log": self.read("SERVING_ACCESS_LOG", _one_of(*ACCESS_LOGS), cls.access_log),
        }
        return None if self.problems else cls(**values)  # type: ignore[arg-type]  # each is read as its own type

    def read(self, name: str, parse: Callable[[str], T], default: T | None = None) -> T | None:
        raw = self.env.get(name, "").strip()
        if not raw:
            if default is None:
                self.problems.append(f"{name} is not set")
            return default
        try:
            return parse(raw)
        except ValueError as exc:
            self.problems.append(f"{name}: {exc}")
            return None


def _text(raw: str) -> str:
    return raw


def _port(raw: str) -> int:
    if not raw.isdigit() or not 0 < int(raw) < 65536:
        raise ValueError(f"expected a port from 1 to 65535, got {raw!r}")
    return int(raw)


def _count(raw: str) -> int:
    if not raw.isdigit() or int(raw) == 0:
        raise ValueError(f"expected a whole number above 0, got {raw!r}")
    return int(raw)


def _positive(raw: str) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ValueError(f"expected a number above 0, got {raw!r}")
    return value


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in words:
            raise ValueError(f"expected {' or '.join(words)}, got {raw!r}")
        return raw

    return parse


def _yes_or_no(raw: str) -> bool:
    return _one_of("true", "false")(raw.lower()) == "true"
