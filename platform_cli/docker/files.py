"""The files that containers are started from: the variables of the compose files, and what is mounted into services."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from contract import made_by_tools, sources_digest
from platform_cli.home import REPO, Home
from platform_cli.stack.documents import compose_texts
from platform_cli.stack.interpolate import interpolate
from platform_cli.stack.model import Service, Stack
from platform_cli.stack.secrets import Text, reveal, write_private

_GATEWAYS = {"gateway-certificate": "GATEWAY_CERTIFICATE", "gateway-key": "GATEWAY_KEY"}
_CHECKOUT = "checkout"
_VARIABLE = re.compile(r"\$\{(\w+)")


def write_files(stack: Stack, home: Home, machine: Mapping[str, str] | None = None) -> None:
    """Write what `docker compose` needs of this stack; the file of its variables is 0600. `machine` are variables that
    only this machine tells.

    The mounted files are readable for the users of all containers, in a directory that on this machine nobody but the
    owner may enter.
    """
    files = {name: reveal(content) for name, content in mounted_files(stack)}
    for name, content in files.items():
        _write_readable(home.rendered / name, content)
    write_checkout(stack, home)
    for left in home.rendered.iterdir():
        if left.name not in {*files, _CHECKOUT}:
            left.unlink()
    write_private(home.compose_env, variables_file(variables(stack, home) | dict(machine or {})))


def write_checkout(stack: Stack, home: Home) -> None:
    """Tell the steps which commit the checkout is at, and what is in it. They read it each time: no container that has
    it mounted has to be made anew for another commit."""
    commit = stack.variables["CHECKOUT_COMMIT"] or "unknown"
    _write_readable(home.rendered / _CHECKOUT, f"{commit} {sources_digest(REPO)}\n")


def written(service: Service, scripts: Iterable[Path], home: Home) -> datetime:
    """When something was last changed that a service reads when it starts: what is made for it, its inputs in the
    checkout, and `scripts`, the single files of the checkout that its container has mounted."""
    names = [*(config.name for config in service.configs), f"{service.name}.env"]
    names += _GATEWAYS if service.name == "gateway" else []
    read = [home.rendered / name for name in names]
    read += [file for file in scripts if file.is_relative_to(REPO) and not file.is_relative_to(home.root)]
    for entry in (REPO / path for path in service.local.inputs):
        read += [entry, *(file for file in entry.rglob("*") if not made_by_tools(file.relative_to(REPO)))]
    times = [file.stat().st_mtime for file in read if file.exists()]
    return datetime.fromtimestamp(max(times, default=0), UTC)


def mounted_files(stack: Stack) -> Iterator[tuple[str, Text]]:
    """Name and content of each file that services find mounted: configs, and variables that are secret."""
    for service in stack.services.values():
        yield from ((config.name, config.content) for config in service.configs)
        if service.from_file:
            secret = {key: reveal(service.environment[key]) for key in sorted(service.from_file)}
            yield f"{service.name}.env", "".join(f"{key}={shlex.quote(value)}\n" for key, value in secret.items())
    for name, setting in _GATEWAYS.items():
        yield name, _owners_file(stack, setting)


def _owners_file(stack: Stack, setting: str) -> str:
    named = stack.settings[setting]
    return Path(named).read_text() if named and stack.settings["GATEWAY_TLS"] == "files" else ""


def variables(stack: Stack, home: Home) -> dict[str, str]:
    """Every variable that the compose files name, with its value."""
    named = sorted({name for text in compose_texts() for name in _VARIABLE.findall(text)})
    known: Mapping[str, Text] = stack.variables
    return {name: reveal(interpolate(f"${{{name}:-}}", known, where=str(home.compose_env))) for name in named}


def variables_file(values: Mapping[str, str]) -> str:
    """The values as `docker compose --env-file` reads them: quoted, so that no `$` in them is a variable."""
    lines = (f"{name}='{value.replace(chr(39), chr(92) + chr(39))}'" for name, value in values.items())
    head = "# Made by `platform up` from the settings and the secrets; it is written anew each time."
    return "\n".join([head, *lines]) + "\n"


def remove_files(home: Home) -> None:
    """Remove what `write_files` has written."""
    shutil.rmtree(home.rendered, ignore_errors=True)
    home.compose_env.unlink(missing_ok=True)


def _write_readable(file: Path, content: str) -> None:
    """Write in place: a running container has mounted this very file."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    if not file.exists():
        file.touch(mode=0o600)
    if file.read_text() != content:
        file.chmod(0o600)
        with file.open("r+") as opened:  # never empty for those who read it meanwhile
            opened.write(content)
            opened.truncate()
    file.chmod(0o444)
