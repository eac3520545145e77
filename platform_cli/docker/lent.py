"""What a build is lent from this machine so that it reaches the package registries: its certificates, package indexes
and proxy. They come as secrets of the build, or as arguments that Docker keeps out of images: none stays in a layer."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from platform_cli.stack.secrets import write_private

# where a program that was told so, or this system, keeps the authorities it trusts
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
OWN_CERTIFICATES = Path("/usr/local/share/ca-certificates")
# what npm's configuration says of registries; its paths are of this machine
_OF_REGISTRIES = re.compile(r"\s*(//|(@[^:=]+:)?registry\s*=|strict-ssl\s*=)")
_NAMED = re.compile(r"^[\w-]+=(?=\w+://)")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


@dataclass(frozen=True)
class Index:
    """Where packages come from, if not from PyPI: the addresses as pip has them. Those that are directories of this
    machine are left out: no build sees them."""

    url: str = ""
    extra: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()

    def pip_conf(self) -> str:
        """The same as pip's configuration; empty if there is nothing to say."""
        pairs = [("index-url", self.url), ("extra-index-url", " ".join(self.extra))]
        pairs.append(("trusted-host", " ".join(self.trusted)))
        lines = [f"{key} = {value}" for key, value in pairs if value]
        return "\n".join(["[global]", *lines, ""]) if lines else ""

    def uv_toml(self) -> str:
        """The same as uv's configuration, which reads nothing of pip's; empty if there is nothing to say."""
        lines = [f"allow-insecure-host = {json.dumps(list(self.trusted))}"] if self.trusted else []
        for url in self.extra:
            lines += ["[[index]]", f"url = {json.dumps(url)}"]
        if self.url:
            lines += ["[[index]]", f"url = {json.dumps(self.url)}", "default = true"]
        return "\n".join([*lines, ""]) if lines else ""


@dataclass(frozen=True)
class Lent:
    """Secrets by their id, as files, and build arguments."""

    secrets: Mapping[str, Path] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def lent(directory: Path) -> Iterator[Lent]:
    """What this machine has to lend; files that must be written lie below `directory` until the end."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield _collect(directory)
    finally:
        shutil.rmtree(directory)


def _collect(directory: Path) -> Lent:
    secrets: dict[str, Path] = {}
    own = certificates(os.environ)
    if own is not None:
        secrets["certificates"] = own
    index = pip_index(_pip_config())
    texts = {
        "pip": index.pip_conf(),
        "uv": uv_index(os.environ, index).uv_toml(),
        "npm": npm_registry(os.environ, Path.home()),
    }
    for name, text in texts.items():
        if text:
            secrets[name] = directory / name
            write_private(secrets[name], text)
    return Lent(secrets, proxies(os.environ))


def certificates(variables: Mapping[str, str]) -> Path | None:
    """The authorities that this machine trusts, if they are others than every image brings along."""
    for name in CERTIFICATE_VARIABLES:
        file = Path(variables.get(name) or "/nowhere")
        if file.is_file():
            return file
    if SYSTEM_CERTIFICATES.is_file() and any(OWN_CERTIFICATES.glob("**/*.crt")):
        return SYSTEM_CERTIFICATES
    return None


def proxies(variables: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables, in both of their spellings."""
    return {name: variables[name] for upper in PROXIES for name in (upper, upper.lower()) if variables.get(name)}


def pip_index(config: str) -> Index:
    """The index that `pip config list` tells of. Its variables come before its files."""
    found: dict[str, list[str]] = {}
    lines = [line.partition("=") for line in config.splitlines() if "=" in line]
    for key, _, value in sorted(lines, key=lambda line: line[0].startswith(":env:")):
        found[key.rpartition(".")[2]] = str(ast.literal_eval(value)).split()
    urls = [url for url in found.get("index-url", []) if _is_remote(url)]
    extra = tuple(url for url in found.get("extra-index-url", []) if _is_remote(url))
    return Index(urls[0] if urls else "", extra, tuple(found.get("trusted-host", [])))


def uv_index(variables: Mapping[str, str], pip: Index) -> Index:
    """The index that uv's variables name, and else pip's."""
    url = variables.get("UV_DEFAULT_INDEX") or variables.get("UV_INDEX_URL") or pip.url
    own = variables.get("UV_INDEX") or variables.get("UV_EXTRA_INDEX_URL")
    extra = tuple(filter(_is_remote, (_NAMED.sub("", entry) for entry in own.split()))) if own else pip.extra
    return Index(url if _is_remote(url) else "", extra, pip.trusted)


def npm_registry(variables: Mapping[str, str], home: Path) -> str:
    """What npm is told of its registries here, by its variable and the file that it reads; empty if nothing."""
    given = {name.lower(): value for name, value in variables.items() if value}
    file = Path(given.get("npm_config_userconfig") or home / ".npmrc")
    lines = [line for line in file.read_text().splitlines() if _OF_REGISTRIES.match(line)] if file.is_file() else []
    if registry := given.get("npm_config_registry"):
        lines.append(f"registry={registry}")
    return "\n".join([*lines, ""]) if lines else ""


def _is_remote(url: str) -> bool:
    return url.startswith(("https://", "http://"))


def _pip_config() -> str:
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
