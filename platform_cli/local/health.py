"""Health checks of the compose files, performed on this machine."""

from __future__ import annotations

import base64
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

from platform_cli.local.spec import Spec
from platform_cli.stack.model import Healthcheck
from platform_cli.stack.secrets import reveal


@dataclass(frozen=True)
class Health:
    """The result of one check. `detail` says what was seen if it failed."""

    ok: bool
    detail: str = ""


STARTED_VARIABLE = "SERVICE_STARTED"


def check(healthcheck: Healthcheck, spec: Spec, started: float = 0.0) -> Health:
    """Perform a health check once, in the environment of its service.

    A program that checks finds in SERVICE_STARTED when the service's process was started, in seconds since the epoch:
    signs of life that are older than that are those of another process.

    A check of the form `wget … URL` is done here, with the same meaning (an answer of 2xx is healthy), so that the
    machine needs no wget and a start needs no process a poll.
    """
    words = [reveal(word) for word in healthcheck.test]
    if words[0] == "wget":
        return _get(words[-1], healthcheck.timeout)
    environment = {**spec.environment, STARTED_VARIABLE: str(started)}
    return _run(words, environment, spec.directory, healthcheck.timeout)


def _get(url: str, timeout: float) -> Health:
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
    request = urllib.request.Request(urlunsplit((parts.scheme, host, parts.path, parts.query, "")))  # noqa: S310
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout):
            return Health(True)
    except urllib.error.HTTPError as error:
        return Health(False, f"{parts.path} answered {error.code}")
    except (OSError, ValueError) as error:
        return Health(False, f"{host}{parts.path}: {getattr(error, 'reason', error)}")


def _run(words: list[str], environment: Mapping[str, str], directory: str, timeout: float) -> Health:
    try:
        done = subprocess.run(
            words, env=dict(environment), cwd=directory, capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return Health(False, f"{words[0]} took longer than {timeout:g} s")
    except OSError as error:
        return Health(False, f"{words[0]}: {error.strerror}")
    return Health(done.returncode == 0, (done.stdout + done.stderr).strip()[-200:])
