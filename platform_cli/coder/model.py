"""What Coder's answers say, typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNFINISHED = frozenset({"pending", "running", "canceling"})
"""The states of a build that has not ended."""


@dataclass(frozen=True)
class User:
    """A person in Coder."""

    id: str
    username: str
    email: str
    status: str
    roles: frozenset[str]


@dataclass(frozen=True)
class Version:
    """A version of a template: `status` is that of its build, `message` what it was pushed with."""

    id: str
    status: str
    error: str
    message: str


@dataclass(frozen=True)
class Template:
    """A template, and which of its versions new workspaces are made from."""

    id: str
    name: str
    active_version: str


@dataclass(frozen=True)
class Workspace:
    """A workspace: `transition` is what its last build was to do (start, stop, delete), `status` how that went."""

    id: str
    name: str
    owner: str
    transition: str
    status: str
    healthy: bool


def read_user(body: Mapping[str, Any]) -> User:
    """A user of an answer."""
    roles = frozenset(role["name"] for role in body["roles"])
    return User(body["id"], body["username"], body["email"], body["status"], roles)


def read_version(body: Mapping[str, Any]) -> Version:
    """A template version of an answer."""
    return Version(body["id"], body["job"]["status"], body["job"].get("error") or "", body.get("message") or "")


def read_workspace(body: Mapping[str, Any]) -> Workspace:
    """A workspace of an answer; healthy when its agents are ready and every app with a health check is well."""
    build = body["latest_build"]
    agents = [agent for resource in build.get("resources") or [] for agent in resource.get("agents") or []]
    healthy = bool(agents) and all(
        agent["status"] == "connected"
        and agent["lifecycle_state"] == "ready"
        and all(app["health"] in ("healthy", "disabled") for app in agent.get("apps") or [])
        for agent in agents
    )
    return Workspace(body["id"], body["name"], body["owner_name"], build["transition"], build["job"]["status"], healthy)
