"""Reads the compose files into a `Stack`, for one of the two runtimes. The Compose keys that are the engine's alone
(image, volumes, networks, …) are passed over; under `x-local`, an unknown key is an error. A service with
`x-local: false` runs only in containers.

Compose has two more keys here, so that no secret becomes part of a container's definition: a service's
`x-secret-environment` (with `x-secret-env-file`) are variables that it finds in a file, and a config's `x-content` is
the content of the file that it names."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from platform_cli.errors import PlatformError
from platform_cli.home import REPO, Home, project_name
from platform_cli.stack.alerts import receivers
from platform_cli.stack.documents import compose_documents, platform_version, ports_in, published_ports
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.interpolate import interpolate, interpolate_tree
from platform_cli.stack.model import Condition, ConfigFile, Healthcheck, Local, Runtime, Service, Stack
from platform_cli.stack.secrets import GENERATORS, Secret, Text, load_secrets, reveal
from platform_cli.stack.settings import load_settings

_READ_KEYS = frozenset(
    {
        *("command", "configs", "depends_on", "entrypoint", "healthcheck", "profiles", "restart", "stop_grace_period"),
        *("x-credentials", "x-local", "x-name", "x-url"),
    }
)
_LOCAL_KEYS = frozenset(Local.__dataclass_fields__)
HTTPS_PORT, NO_DOMAIN = "443", "localhost"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def load_stack(home: Home, *, create_secrets: bool, runtime: Runtime = Runtime.LOCAL) -> Stack:
    """The stack of this checkout, for this home.

    Args:
        runtime: what it will run in, which decides on hosts and directories.
        create_secrets: make the secrets that do not exist yet (what `up` does); else they must be there.

    Raises:
        UsageError: a setting is wrong.
        PlatformError: a compose file is wrong, or the stack was never set up and `create_secrets` is false.
    """
    settings = load_settings(home)
    documents = compose_documents()
    secrets = load_secrets(home.secrets_file, _declared_secrets(documents), data=home.data, create=create_secrets)
    variables: dict[str, Text] = {
        "PLATFORM_HOME": str(home.root),
        "COMPOSE_PROJECT_NAME": project_name(home),
        "PLATFORM_CHECKOUT": str(REPO),
        "PLATFORM_VERSION": platform_version(),
        "MACHINE_CPUS": str(os.cpu_count()),
        "CHECKOUT_COMMIT": _commit(),
        **settings,
        **receivers(settings),
        **secrets,
        "CODER_APP_DOMAIN": f"*.coder.{settings['PLATFORM_DOMAIN']}" if settings["CODER_APP_NAMES"] == "true" else "",
    }
    runtime_file = REPO / "compose" / f"runtime.{runtime}.env"
    for key, value in read_env_file(runtime_file).items():
        variables[key] = interpolate(value, variables, where=str(runtime_file))
    variables |= _pages(documents, variables, settings, runtime)
    published = published_ports() if runtime is Runtime.DOCKER else None
    services: dict[str, Service] = {}
    containers_only: dict[str, tuple[str, ...]] = {}
    for file, document in documents.items():
        reader = _Reader(file, document, variables, published)
        for name, raw in document.get("services", {}).items():
            if raw.get("x-local") is False and runtime is Runtime.LOCAL:
                containers_only[name] = tuple(raw.get("profiles", []))
            else:
                services[name] = reader.service(name)
    _check_dependencies(services, containers_only)
    return Stack(services, settings, secrets, containers_only, variables)


def _pages(
    documents: Mapping[Path, Mapping[str, Any]],
    variables: Mapping[str, Text],
    settings: Mapping[str, str],
    runtime: Runtime,
) -> dict[str, Text]:
    """`NAME_PAGE` for each service with an `x-name`, which is where people find it: below the owner's domain, and while
    there is none, where the machine does."""
    domain, port = settings["PLATFORM_DOMAIN"], settings["GATEWAY_HTTPS_PORT"]
    named = runtime is Runtime.DOCKER and domain != NO_DOMAIN
    suffix = domain if port == HTTPS_PORT else f"{domain}:{port}"
    services = [raw for document in documents.values() for raw in document.get("services", {}).values()]
    return {
        _page_variable(raw): f"https://{raw['x-name']}.{suffix}"
        if named
        else interpolate(raw["x-url"], variables, where="x-url")
        for raw in services
        if "x-name" in raw
    }


def _page_variable(service: Mapping[str, Any]) -> str:
    return f"{service.get('x-name', '').upper()}_PAGE"


def _commit() -> str:
    """The commit of the checkout, `-dirty` after it if files differ; empty outside git. Containers cannot ask."""
    words = ["git", "-C", str(REPO), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def _declared_secrets(documents: Mapping[Path, Mapping[str, Any]]) -> dict[str, str]:
    declared: dict[str, str] = {}
    for file, document in documents.items():
        for name, kind in document.get("x-secrets", {}).items():
            if kind not in GENERATORS:
                raise PlatformError(
                    f"secret {name} has the unknown kind {kind!r}",
                    where=str(file),
                    do=f"kinds: {', '.join(GENERATORS)}",
                )
            declared[name] = kind
    return declared


def _check_dependencies(services: Mapping[str, Service], containers_only: Collection[str]) -> None:
    for service in services.values():
        for name in service.depends_on:
            if name in containers_only:
                raise PlatformError(
                    f"{service.name} depends on {name}, which runs only in containers",
                    where=service.component,
                    do="give the one the x-local: false of the other",
                )
            if name not in services:
                raise PlatformError(f"{service.name} depends on {name}, which is no service", where=service.component)


class _Reader:
    """Reads the services of one compose file. Programs of this machine reach the `published` ports, or all for None."""

    def __init__(
        self,
        file: Path,
        document: Mapping[str, Any],
        variables: Mapping[str, Text],
        published: Collection[str] | None,
    ) -> None:
        self.file = file
        self.document = document
        self.variables = variables
        self.published = published

    def service(self, name: str) -> Service:
        """One service, with its variables replaced."""
        raw = self.document["services"][name]
        where = f"{self.file}, services.{name}"
        secret = self._environment(raw, where, "x-secret-env-file", "x-secret-environment")
        environment = self._environment(raw, where, "env_file", "environment") | secret
        tree = interpolate_tree({key: raw[key] for key in raw.keys() & _READ_KEYS}, self.variables, where=where)
        local = Local(env="") if raw.get("x-local") is False else self._local(tree.get("x-local", {}), where)
        command = local.command or (*_words(tree.get("entrypoint")), *_words(tree.get("command")))
        url = tree.get("x-url", "") if self._is_reachable(raw.get("x-url", "")) else ""
        return Service(
            name=name,
            component=self.file.parent.name,
            command=command,
            environment=environment | dict(local.environment),
            depends_on=_depends_on(tree.get("depends_on", {})),
            healthcheck=_healthcheck(tree.get("healthcheck"), local.healthcheck),
            configs=tuple(self._config(entry, where) for entry in tree.get("configs", [])),
            url=url,
            page=reveal(self.variables.get(_page_variable(raw), url)),
            credentials=tree.get("x-credentials", {}),
            one_shot=tree.get("restart") == "no",
            profiles=tuple(tree.get("profiles", [])),
            stop_grace=_seconds(tree.get("stop_grace_period", "10s")),
            local=local,
            from_file=frozenset(secret),
            restarted_with=frozenset(n for n, entry in tree.get("depends_on", {}).items() if entry.get("restart")),
        )

    def _is_reachable(self, url: str) -> bool:
        """Whether programs of this machine get to a service, by the port that its address names."""
        return self.published is None or set(ports_in(url)) <= set(self.published)

    def _environment(self, raw: Mapping[str, Any], where: str, files: str, pairs: str) -> dict[str, Text]:
        values: dict[str, Text] = {}
        for name in raw.get(files, []):
            file = (self.file.parent / name).resolve()
            for key, value in read_env_file(file).items():
                values[key] = interpolate(value, self.variables, where=str(file))
        for key, value in (raw.get(pairs) or {}).items():
            values[key] = interpolate(str(value), self.variables, where=f"{where}.{pairs}.{key}")
        return values

    def _local(self, tree: Mapping[str, Any], where: str) -> Local:
        unknown = set(tree) - _LOCAL_KEYS
        if unknown:
            raise PlatformError(
                f"unknown key {', '.join(sorted(unknown))}",
                where=f"{where}.x-local",
                do=f"allowed are: {', '.join(sorted(_LOCAL_KEYS))}",
            )
        if "env" not in tree:
            raise PlatformError("x-local.env is missing", where=where, do="name the environment that runs the service")
        environment = {
            key: value if isinstance(value, Secret) else str(value)
            for key, value in tree.get("environment", {}).items()
        }
        return Local(
            env=tree["env"],
            command=_words(tree.get("command")),
            unprivileged=bool(tree.get("unprivileged", False)),
            user=tree.get("user", ""),
            data=tuple(Path(reveal(entry)) for entry in tree.get("data", [])),
            inputs=tuple(tree.get("inputs", [])),
            outputs=tuple(Path(reveal(entry)) for entry in tree.get("outputs", [])),
            healthcheck=_words(tree.get("healthcheck")),
            optional=bool(tree.get("optional", False)),
            environment=environment,
        )

    def _config(self, entry: Mapping[str, str], where: str) -> ConfigFile:
        name = entry["source"]
        content = self.document.get("configs", {}).get(name, {}).get("x-content")
        if content is None:
            raise PlatformError(f"config {name} has no x-content", where=where)
        text = interpolate(content, self.variables, where=f"{self.file}, configs")
        return ConfigFile(name, Path(entry["target"]), text)


def _words(command: object) -> tuple[Text, ...]:
    """A command in list form; numbers become text."""
    if command is None:
        return ()
    if not isinstance(command, list):
        raise PlatformError(f"commands are written as lists, not {command!r}")
    return tuple(word if isinstance(word, Secret) else str(word) for word in command)


def _depends_on(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Condition]:
    return {name: Condition(entry.get("condition", Condition.STARTED)) for name, entry in tree.items()}


def _healthcheck(tree: Mapping[str, Any] | None, instead: tuple[Text, ...]) -> Healthcheck | None:
    """The health check, with the test `instead` of its own if there is one."""
    if tree is None or tree["test"] == ["NONE"]:
        return None
    kind, *test = tree["test"]
    words = ("sh", "-c", *test) if kind == "CMD-SHELL" else test
    return Healthcheck(
        test=instead or _words(list(words)),
        interval=_seconds(tree.get("interval", "30s")),
        timeout=_seconds(tree.get("timeout", "30s")),
        retries=int(tree.get("retries", 3)),
        start_period=_seconds(tree.get("start_period", "0s")),
    )


def _seconds(duration: str) -> float:
    """A Compose duration such as `1m30s` in seconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise PlatformError(f"not a duration: {duration!r}", do="write it as 10s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
