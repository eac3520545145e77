"""Reads the compose files into a `Stack`. The Compose keys that the local runtime has no use for (image, build,
volumes, networks, …) are passed over; under `x-local`, an unknown key is an error. A service with `x-local: false` runs
only in containers: the stack knows its name and profiles, and no more."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from platform_cli.errors import PlatformError
from platform_cli.home import REPO, Home
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.interpolate import interpolate, interpolate_tree
from platform_cli.stack.model import Condition, ConfigFile, Healthcheck, Local, Service, Stack
from platform_cli.stack.secrets import GENERATORS, Secret, Text, load_secrets, reveal
from platform_cli.stack.settings import RUNTIME_FILE, load_settings

ROOT_FILE = REPO / "docker-compose.yml"
_LOCAL_KEYS = frozenset(Local.__dataclass_fields__)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def load_stack(home: Home, *, create_secrets: bool) -> Stack:
    """The stack of this checkout, for this home.

    Args:
        create_secrets: make the secrets that do not exist yet (what `up` does); else they must be there.

    Raises:
        UsageError: a setting is wrong.
        PlatformError: a compose file is wrong, or the stack was never set up and `create_secrets` is false.
    """
    settings = load_settings(home)
    documents = {file: _read(file) for file in _compose_files()}
    secrets = load_secrets(home.secrets_file, _declared_secrets(documents), data=home.data, create=create_secrets)
    variables: dict[str, Text] = {
        "PLATFORM_HOME": str(home.root),
        "PLATFORM_CHECKOUT": str(REPO),
        **settings,
        **secrets,
    }
    for key, value in read_env_file(RUNTIME_FILE).items():
        variables[key] = interpolate(value, variables, where=str(RUNTIME_FILE))
    services: dict[str, Service] = {}
    containers_only: dict[str, tuple[str, ...]] = {}
    for file, document in documents.items():
        reader = _Reader(file, document, variables)
        for name, raw in document.get("services", {}).items():
            if raw.get("x-local") is False:
                containers_only[name] = reader.profiles(name)
            else:
                services[name] = reader.service(name)
    _check_dependencies(services, containers_only)
    return Stack(services, settings, secrets, containers_only)


def ports_of_containers() -> frozenset[str]:
    """The settings of ports that only services in containers publish, so that here they may be anybody's."""
    services = [service for file in _compose_files() for service in _read(file).get("services", {}).values()]
    ports = [port for service in services if service.get("x-local") is False for port in service.get("ports", [])]
    return frozenset(name for port in ports for name in re.findall(r"\$\{(\w+_PORT)\}", port))


def _compose_files() -> list[Path]:
    return [ROOT_FILE.parent / entry for entry in _read(ROOT_FILE)["include"]]


def _read(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise PlatformError(f"not valid YAML: {error}", where=str(file), do="correct the file") from None
    return document or {}


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
    """Reads the services of one compose file."""

    def __init__(self, file: Path, document: Mapping[str, Any], variables: Mapping[str, Text]) -> None:
        self.file = file
        self.document = document
        self.variables = variables

    def profiles(self, name: str) -> tuple[str, ...]:
        """The profiles of a service that runs only in containers.

        Raises:
            PlatformError: it has none, so the local runtime would lack it without a word.
        """
        profiles = tuple(self.document["services"][name].get("profiles", []))
        if not profiles:
            raise PlatformError(
                "a service with x-local: false needs a profile",
                where=f"{self.file}, services.{name}",
                do="add `profiles`, or say under x-local how it runs without containers",
            )
        return profiles

    def service(self, name: str) -> Service:
        """One service, with its variables replaced."""
        raw = self.document["services"][name]
        where = f"{self.file}, services.{name}"
        environment = self._environment(raw, where)
        tree = interpolate_tree(
            {key: value for key, value in raw.items() if key not in ("build", "image", "volumes", "environment")},
            self.variables,
            where=where,
        )
        local = self._local(tree.get("x-local", {}), where)
        command = local.command or (*_words(tree.get("entrypoint")), *_words(tree.get("command")))
        return Service(
            name=name,
            component=self.file.parent.name,
            command=command,
            environment=environment | dict(local.environment),
            depends_on=_depends_on(tree.get("depends_on", {})),
            healthcheck=_healthcheck(tree.get("healthcheck")),
            configs=tuple(self._config(entry, where) for entry in tree.get("configs", [])),
            ports=tuple(int(reveal(port).rsplit(":", 1)[-1]) for port in tree.get("ports", [])),
            one_shot=tree.get("restart") == "no",
            profiles=tuple(tree.get("profiles", [])),
            stop_grace=_seconds(tree.get("stop_grace_period", "10s")),
            local=local,
            restarted_with=frozenset(n for n, entry in tree.get("depends_on", {}).items() if entry.get("restart")),
        )

    def _environment(self, raw: Mapping[str, Any], where: str) -> dict[str, Text]:
        values: dict[str, Text] = {}
        for name in raw.get("env_file", []):
            file = (self.file.parent / name).resolve()
            for key, value in read_env_file(file).items():
                values[key] = interpolate(value, self.variables, where=str(file))
        for key, value in (raw.get("environment") or {}).items():
            values[key] = interpolate(str(value), self.variables, where=f"{where}.environment.{key}")
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
            optional=bool(tree.get("optional", False)),
            environment=environment,
            url=tree.get("url", ""),
            credentials=tree.get("credentials", {}),
        )

    def _config(self, entry: Mapping[str, str], where: str) -> ConfigFile:
        content = self.document.get("configs", {}).get(entry["source"], {}).get("content")
        if content is None:
            raise PlatformError(f"config {entry['source']} has no content", where=where)
        return ConfigFile(Path(entry["target"]), interpolate(content, self.variables, where=f"{self.file}, configs"))


def _words(command: object) -> tuple[Text, ...]:
    """A command in list form; numbers become text."""
    if command is None:
        return ()
    if not isinstance(command, list):
        raise PlatformError(f"commands are written as lists, not {command!r}")
    return tuple(word if isinstance(word, Secret) else str(word) for word in command)


def _depends_on(tree: Mapping[str, Mapping[str, Any]]) -> dict[str, Condition]:
    return {name: Condition(entry.get("condition", Condition.STARTED)) for name, entry in tree.items()}


def _healthcheck(tree: Mapping[str, Any] | None) -> Healthcheck | None:
    if tree is None or tree["test"] == ["NONE"]:
        return None
    kind, *test = tree["test"]
    words = ("sh", "-c", *test) if kind == "CMD-SHELL" else test
    return Healthcheck(
        test=_words(list(words)),
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
