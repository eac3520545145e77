"""Settings: the defaults of compose/settings.env, changed by PLATFORM_HOME/platform.env."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from platform_cli.errors import UsageError
from platform_cli.home import REPO, Home
from platform_cli.stack.alerts import check_alerts
from platform_cli.stack.envfile import read_env_file

DEFAULTS_FILE = REPO / "compose" / "settings.env"
HIGHEST_PORT = 65535


def load_settings(home: Home, changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Every setting with its value, checked.

    Args:
        changes: settings that go before those of the home's file.

    Raises:
        UsageError: an unknown key, a value of the wrong type, one port given to two services, or alerts that could not
            be sent; names file and key.
    """
    defaults = read_env_file(DEFAULTS_FILE)
    own = read_env_file(home.settings_file) if home.settings_file.exists() else {}
    check_settings(own, defaults, where=str(home.settings_file))
    settings = {**defaults, **own, **(changes or {})}
    _check_ports_differ(settings, where=str(home.settings_file))
    check_alerts(settings, where=str(home.settings_file))
    return settings


def check_settings(own: Mapping[str, str], defaults: Mapping[str, str], *, where: str) -> None:
    """Refuse a key that has no default, and a value that its key's ending does not allow. What is empty by default may
    be empty."""
    for key, value in own.items():
        if key not in defaults:
            near = difflib.get_close_matches(key, defaults, n=1, cutoff=0.6)
            raise UsageError(
                f"unknown setting {key}" + (f" (did you mean {near[0]}?)" if near else ""),
                where=where,
                do=f"allowed are: {', '.join(defaults)}",
            )
        allowed = _allowed(key, value) if value or defaults[key] else None
        if allowed:
            raise UsageError(
                f"{key}={value!r} is not valid: {allowed}", where=f"{where}, {key}", do="correct the value"
            )


CHOICES = {
    "SERVING_JOURNAL_DURABILITY": ("relaxed", "strict"),
    "SERVING_ALLOW_PICKLE": ("true", "false"),
    "SERVING_ACCESS_LOG": ("errors", "all"),
    "WORKSPACE_GPU": ("true", "false"),
    "CODER_APP_NAMES": ("true", "false"),
    "RUNTIME": ("auto", "docker", "local"),
    "GATEWAY_TLS": ("internal", "acme", "files"),
    "ALERT_SMTP_TLS": ("true", "false"),
}


def _allowed(key: str, value: str) -> str | None:
    """What the key allows, if `value` is not that; the type follows from the key's ending."""
    if key.endswith("_PORT"):
        return None if value.isdecimal() and 0 < int(value) <= HIGHEST_PORT else "a port, 1 to 65535"
    if key.endswith(("_SECONDS", "_MB", "_GB", "_CPUS", "_WORKERS", "_PARALLELISM", "_BYTES")):
        return None if value.isdecimal() and int(value) > 0 else "a whole number above 0"
    if key.endswith("_PORTS"):
        first, dash, last = value.partition("-")
        ports = [int(port) for port in (first, last) if port.isdecimal()]
        return None if dash and len(ports) == 2 and 0 < ports[0] < ports[1] <= HIGHEST_PORT else "FIRST-LAST, two ports"
    if key.endswith("_DAYS"):
        return None if value.isdecimal() else "a whole number, 0 for no end"
    if key in CHOICES:
        return None if value in CHOICES[key] else " or ".join(CHOICES[key])
    return None if value else "a text that is not empty"


def _check_ports_differ(settings: Mapping[str, str], *, where: str) -> None:
    taken: dict[str, str] = {}
    for key, value in settings.items():
        if not key.endswith("_PORT"):
            continue
        if value in taken:
            raise UsageError(
                f"{taken[value]} and {key} are both port {value}", where=where, do="give each service its own port"
            )
        taken[value] = key


def parse_changes(texts: list[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as settings, checked.

    Raises:
        UsageError: a text is not KEY=VALUE, or the setting is unknown or of the wrong type.
    """
    defaults = read_env_file(DEFAULTS_FILE)
    changes: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set takes KEY=VALUE, not {text!r}", do=f"allowed keys: {', '.join(defaults)}")
        changes[key.strip()] = value.strip()
    check_settings(changes, defaults, where="--set")
    return changes


def save_settings(home: Home, changes: Mapping[str, str]) -> None:
    """Write settings into the home's file; its other lines stay as they are."""
    lines = home.settings_file.read_text().splitlines() if home.settings_file.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in changes]
    home.settings_file.write_text("\n".join([*kept, *(f"{k}={v}" for k, v in changes.items())]) + "\n")
