"""The compose files of the checkout, read and not interpreted: `docker-compose.yml` and those that it includes."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from platform_cli.errors import PlatformError
from platform_cli.home import REPO

# ten times as fast, where PyYAML has been built with it
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ROOT_FILE = REPO / "docker-compose.yml"
_PORT = re.compile(r"\$\{(\w+_PORT)\}")


def platform_version() -> str:
    """The platform's version, which its images are named by."""
    return str(tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["version"])


def compose_documents() -> dict[Path, dict[str, Any]]:
    """The compose files of the stack, read but not interpreted.

    Raises:
        PlatformError: one of them is not valid YAML.
    """
    return {file: _read(file) for file in (ROOT_FILE.parent / entry for entry in _read(ROOT_FILE)["include"])}


def ports_of_containers() -> frozenset[str]:
    """The settings of ports that only services in containers name, so that here they may be anybody's."""
    named: dict[bool, set[str]] = {True: set(), False: set()}
    for service in _services():
        named[service.get("x-local") is False] |= set(ports_in(str(service)))
    return frozenset(named[True] - named[False])


def published_ports() -> frozenset[str]:
    """The settings of ports that containers publish on this machine."""
    ports = [port for service in _services() for port in service.get("ports", [])]
    return frozenset(name for port in ports for name in ports_in(port))


def compose_texts() -> Iterator[str]:
    """The text of every compose file, and of the files of variables that services are given."""
    for file, document in compose_documents().items():
        yield file.read_text()
        named = {name for service in document.get("services", {}).values() for name in service.get("env_file", [])}
        yield from ((file.parent / name).read_text() for name in sorted(named))


def ports_in(text: str) -> list[str]:
    """The settings of ports that a text refers to."""
    return _PORT.findall(text)


def _services() -> list[dict[str, Any]]:
    return [service for document in compose_documents().values() for service in document.get("services", {}).values()]


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.load(file.read_text(), _LOADER)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        raise PlatformError(f"not valid YAML: {error}", where=str(file), do="correct the file") from None
    return document or {}
