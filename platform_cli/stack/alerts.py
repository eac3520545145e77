"""Where alerts go: `ALERT_TO` and the settings for e-mail, checked, and as Alertmanager's receivers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from platform_cli.errors import UsageError

_MAIL = "mailto:"
_ADDRESS = re.compile(r"[^\s@,\"\\]+@[^\s@,\"\\]+")
_SERVER = re.compile(r"[\w.-]+:\d{1,5}")
_USER = re.compile(r"[^\s\"\\]*")


def check_alerts(settings: Mapping[str, str], *, where: str) -> None:
    """Refuse an `ALERT_TO` that is no address, and e-mail without a server or a sender.

    Raises:
        UsageError: names the setting.
    """
    to = settings["ALERT_TO"]
    if not to.startswith(_MAIL):
        if to and not _is_web_address(to):
            _refuse("ALERT_TO", to, "an address such as https://… or mailto:somebody@example.com, or empty", where)
        return
    if not all(_ADDRESS.fullmatch(one) for one in _addresses(to)):
        _refuse("ALERT_TO", to, "mailto:somebody@example.com; several are separated by commas", where)
    for key, pattern, allowed in (
        ("ALERT_SMTP_SERVER", _SERVER, "the mail server as host:port, since ALERT_TO is an e-mail address"),
        ("ALERT_SMTP_FROM", _ADDRESS, "the sender's e-mail address, since ALERT_TO is an e-mail address"),
        ("ALERT_SMTP_USER", _USER, "a name without spaces and quotes, or empty"),
    ):
        if not pattern.fullmatch(settings[key]):
            _refuse(key, settings[key], allowed, where)


def receivers(settings: Mapping[str, str]) -> dict[str, str]:
    """Variables for Alertmanager's configuration: the lists of its receivers by webhook and by e-mail, as JSON, which
    is YAML. Both are empty where alerts are only shown."""
    to = settings["ALERT_TO"]
    webhooks: list[dict[str, Any]] = []
    emails: list[dict[str, Any]] = []
    if to.startswith(_MAIL):
        emails = [{"to": ", ".join(_addresses(to)), "send_resolved": True}]
    elif to:
        webhooks = [{"url": to, "send_resolved": True}]
    return {"ALERT_WEBHOOKS": json.dumps(webhooks), "ALERT_EMAILS": json.dumps(emails)}


def _addresses(to: str) -> list[str]:
    return to.removeprefix(_MAIL).split(",")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in text
    except ValueError:  # a port that is no number
        return False


def _refuse(key: str, value: str, allowed: str, where: str) -> None:
    raise UsageError(f"{key}={value!r} is not valid: {allowed}", where=f"{where}, {key}", do="correct the value")
