"""A server under load: where it answers, what it is sent, and that it answers what the model itself says."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.serving.case import CASES, ReadAnswers, Sample, WriteBody

_ANSWER_SECONDS = 30.0


class WrongServer(Exception):
    """A server that does not start, or answers something else than the model."""


@dataclass(frozen=True)
class Target:
    """An address that takes rows of `sample` and answers predictions."""

    url: str
    sample: Sample
    body: WriteBody
    answers: ReadAnswers
    headers: Mapping[str, str] = field(default_factory=dict)
    checked: bool = True
    """Whether the answers are to be what the model says."""

    def bodies(self, rows: int) -> list[bytes]:
        """The bodies that are sent in turn."""
        return [json.dumps(self.body(records)).encode() for records, _ in self.sample.pool(rows)]

    def wait(self, alive: Callable[[], bool], seconds: float) -> None:
        """Return when it answers a request.

        Raises:
            WrongServer: it ended, or does not answer in time.
        """
        body = self.bodies(1)[0]
        end = time.monotonic() + seconds
        while True:
            try:
                self._ask(body)
                return
            except OSError as exc:
                if not alive():
                    raise WrongServer("it ended before it answered") from exc
                if time.monotonic() > end:
                    detail = (
                        exc.read().decode(errors="replace")[:500] if isinstance(exc, urllib.error.HTTPError) else ""
                    )
                    raise WrongServer(f"it does not answer: {exc} {detail}") from exc
            time.sleep(0.1)

    def check(self) -> None:
        """Compare its answers to all bodies with those of the model's own predict.

        Raises:
            WrongServer: one differs.
        """
        for rows in {case.rows for case in CASES}:
            for (_, expected), body in zip(self.sample.pool(rows), self.bodies(rows), strict=True):
                got = list(self.answers(self._ask(body)))
                if self.checked and got != expected:
                    raise WrongServer(f"it answers {got}, the model says {expected}")

    def _ask(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json", **self.headers}
        request = urllib.request.Request(self.url, body, headers)  # noqa: S310 - loopback, http
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:  # noqa: S310
            return json.load(answer)


def _detail(error: OSError) -> str:
    return error.read().decode(errors="replace")[:500] if isinstance(error, urllib.error.HTTPError) else ""
