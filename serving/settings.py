"""Settings of the model server, read once from the environment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from serving.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """What the server needs to know. Secrets stay out of its repr."""

    host: str
    port: int
    tracking_uri: str
    predictions_url: str = field(repr=False)
    api_keys: Mapping[str, str] = field(repr=False)
    """Key by the name of the caller that holds it."""
    cache_dir: Path
    poll_seconds: float = 1.0
    max_body_bytes: int = 8 * 1024 * 1024
    store_queue_rows: int = 100_000
    """Predictions kept in memory while PostgreSQL is away; what comes on top is lost and counted."""
    store_wait_seconds: float = 1.0
    """Longest that an answer waits for its predictions to be committed."""

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
            "predictions_url": self.read("PREDICTIONS_URL", _text),
            "api_keys": self.read("SERVING_API_KEYS", parse_api_keys),
            "cache_dir": self.read("SERVING_CACHE_DIR", Path),
            "poll_seconds": self.read("SERVING_POLL_SECONDS", _positive, Settings.poll_seconds),
            "max_body_bytes": self.read("SERVING_MAX_BODY_BYTES", _count, Settings.max_body_bytes),
            "store_queue_rows": self.read("SERVING_STORE_QUEUE_ROWS", _count, Settings.store_queue_rows),
            "store_wait_seconds": self.read("SERVING_STORE_WAIT_SECONDS", _positive, Settings.store_wait_seconds),
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


def parse_api_keys(raw: str) -> dict[str, str]:
    """Parse `name=key,name=key`.

    Raises:
        ValueError: an entry has no name or no key, or a name or a key stands twice. The message never holds a key.
    """
    keys: dict[str, str] = {}
    for position, entry in enumerate(filter(None, (part.strip() for part in raw.split(","))), start=1):
        name, _, key = entry.partition("=")
        if not name or not key:
            raise ValueError(f"entry {position} is not of the form name=key")
        if name in keys or key in keys.values():
            raise ValueError(f"entry {position} repeats a name or a key")
        keys[name] = key
    if not keys:
        raise ValueError("expected name=key,name=key")
    return keys


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
