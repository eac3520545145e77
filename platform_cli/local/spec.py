"""A service as the local runtime starts it: command, environment, user. Pure: nothing is written here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from platform_cli.home import REPO, Home
from platform_cli.local.processes import SERVICE_VARIABLE, STACK_VARIABLE
from platform_cli.stack.model import Service, Stack
from platform_cli.stack.secrets import reveal

# Certificates and proxies of the machine reach the services; nothing else of the caller's environment does.
_INHERITED = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "NO_PROXY",
    "TZ",
)
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Spec:
    """What `launch` needs, with secrets in the clear: only ever written to a file of mode 0600."""

    service: str
    home: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: str
    user: str

    def to_json(self) -> str:
        """The text that `launch` reads."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    def __repr__(self) -> str:
        return f"Spec({self.service})"


def make_spec(service: Service, stack: Stack, home: Home, *, as_root: bool) -> Spec:
    """The specification of a service. It differs exactly if the service has to be started anew."""
    return Spec(
        service=service.name,
        home=str(home.root),
        command=tuple(reveal(word) for word in service.command),
        environment=_environment(service, home),
        directory=str(REPO),
        user=_user(service, stack) if as_root else "",
    )


def _user(service: Service, stack: Stack) -> str:
    return service.local.user or (stack.settings["SERVICE_USER"] if service.local.unprivileged else "")


def _environment(service: Service, home: Home) -> dict[str, str]:
    base = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    base |= {
        "PATH": f"{home.envs / service.local.env / 'bin'}:{SYSTEM_PATH}",
        "HOME": str(home.state / "home"),
        "TMPDIR": str(home.state / "tmp"),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(REPO),
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",
        # else a process that renames itself overwrites the variables by which the stack's processes are found
        "SPT_NOENV": "1",
    }
    own = {key: reveal(value) for key, value in service.environment.items()}
    return base | own | {STACK_VARIABLE: str(home.root), SERVICE_VARIABLE: service.name}


def fingerprint(spec: Spec, service: Service, env_digest: str) -> str:
    """A digest of all that a start of the service depends on: when it changes, the service is started anew."""
    parts = [spec.to_json(), env_digest]
    parts += [f"{config.target}\0{reveal(config.content)}" for config in service.configs]
    parts += [_tree_digest(REPO / path) for path in service.local.inputs]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _tree_digest(path: Path) -> str:
    """A digest of the files below a path (or of one file): names and contents."""
    files = (
        [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(REPO)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
