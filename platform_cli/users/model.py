"""A person, the roles that one can have, and what a service knows of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from platform_cli.errors import UsageError

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST_NAME = 32
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
RESERVED = frozenset(
    {"admin", "airflow", "client", "coder", "exporter", "grafana", "me", "mlflow", "pipelines", "platform"}
    | {"postgres", "prometheus", "public", "root", "serving"}
)
"""Names of the platform's own accounts, in whichever service, and words that one of them gives a meaning."""


class Role(StrEnum):
    """What a person is on the platform; docs/users.md says what each may."""

    VIEWER = "viewer"
    SCIENTIST = "scientist"
    ENGINEER = "engineer"
    ADMIN = "admin"


@dataclass(frozen=True)
class Person:
    """Somebody who works with the platform."""

    name: str
    email: str


@dataclass(frozen=True)
class Account:
    """What a service knows of a person: the `level` of rights, in the service's own words, and whether it lets in."""

    level: str
    enabled: bool = True


def check_name(name: str) -> str:
    """The name, if a person may have it in every service: Coder and the model server allow the fewest letters.

    Raises:
        UsageError: it may not; with one that may, where there is one like it.
    """
    if name in RESERVED:
        raise UsageError(f"{name!r} is the name of an account of the platform itself", do="choose another name")
    if NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return name
    near = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:LONGEST_NAME].strip("-")
    raise UsageError(
        f"{name!r} is no name that every service takes: lower-case letters and digits, single hyphens between them,"
        f" at most {LONGEST_NAME}",
        do=f"take {near!r}" if near and near not in RESERVED else "choose another name",
    )


def check_email(email: str) -> str:
    """The address, if it is one.

    Raises:
        UsageError: it is none.
    """
    if not EMAIL.fullmatch(email):
        raise UsageError(f"{email!r} is no e-mail address", do="write it as name@example.com")
    return email
