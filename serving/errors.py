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


def show(value: object) -> str:
    """Return a JSON value as a message quotes it: short, printable, safe to encode whatever it holds."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        return json.dumps(value[:MAX_SHOWN]) + "…"
    return json.dumps(value)
