"""Errors that reach a caller or an operator, each with the message they read."""

import json
from typing import Any

MAX_SHOWN = 60
"""Characters of a caller's string that a message repeats."""


class SettingsError(Exception):
    """The environment does not hold usable settings; the message lists every variable that is wrong."""


class VersionRefused(Exception):
    """A model version cannot be served as it is; the message says why and what to do.

    Trying again later gives the same result, unlike a registry that does not answer.
    """


class RequestError(Exception):
    """A request that is answered with an error status.

    Args:
        status: the HTTP status.
        message: what is wrong, where, and what was expected.
        details: one entry a finding, for programs.
        headers: headers to add to the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        details: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """Return the JSON body of the answer."""
        return {"error": self.message} | ({"details": self.details} if self.details else {})

    def full_message(self) -> str:
        """Return the message with all findings in it, for protocols whose errors are one string."""
        if not self.details or len(self.details) == 1:
            return self.message
        return "; ".join(map(describe_finding, self.details))


def describe_finding(finding: dict[str, Any]) -> str:
    """Return a finding of a check (an entry of `RequestError.details`) as a message tells it."""
    places = [f"row {finding['row']}"] if finding["row"] is not None else []
    if finding["field"] is not None:
        places.append(f"field {finding['field']!r}")
    return f"{', '.join(places)}: expected {finding['expected']}, got {finding['got']}"


def show(value: object) -> str:
    """Return a JSON value, or a moment, as a message quotes it: short, printable, safe to encode whatever it holds."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        return json.dumps(value[:MAX_SHOWN]) + "…"
    return json.dumps(value, default=str)
