"""People in Coder: their accounts, their roles, and the workspace that holds their credentials."""

from __future__ import annotations

import json
import secrets as random
from collections.abc import Mapping

from platform_cli.coder.client import Coder
from platform_cli.coder.model import Template, Workspace
from platform_cli.errors import UsageError
from platform_cli.stack.secrets import Secret, Text, reveal

ROLES: Mapping[str, frozenset[str]] = {
    "scientist": frozenset(),
    "engineer": frozenset({"template-admin"}),
    "admin": frozenset({"owner"}),
}
"""The platform's roles → Coder's. Everybody with an account can make workspaces; a viewer needs none."""


def ensure_user(coder: Coder, username: str, email: str, role: str) -> Secret | None:
    """Let a person in with this role.

    Returns:
        The password of a new account, to be told once; None if there was one.

    Raises:
        UsageError: the role is none that Coder has accounts for.
    """
    if role not in ROLES:
        raise UsageError(f"there are no accounts in Coder for the role {role!r}", do=f"roles: {', '.join(ROLES)}")
    password = None
    user = coder.user(username)
    if user is None:
        password = Secret(random.token_urlsafe(18))
        user = coder.create_user(username, email, password)
    elif user.status == "suspended":
        coder.activate(username)
    if user.roles != ROLES[role]:
        coder.set_roles(username, sorted(ROLES[role]))
    return password


def disable_user(coder: Coder, username: str) -> list[Workspace]:
    """Let a person in no more, and stop their workspaces; homes stay. Returns those that were stopped.

    Raises:
        UsageError: there is no such person.
    """
    user = coder.user(username)
    if user is None:
        raise UsageError(f"there is nobody named {username!r} in Coder", do="see `platform coder workspaces`")
    if user.status != "suspended":
        coder.suspend(username)
    running = [workspace for workspace in coder.workspaces(username) if workspace.transition == "start"]
    for workspace in running:
        coder.build(workspace, "stop")
    return running


def give_credentials(
    coder: Coder, username: str, name: str, template: Template, credentials: Mapping[str, Text]
) -> None:
    """Start a person's workspace with these variables in its environment; it is made if there is none. Coder keeps
    them for this one build; the workspace keeps them in its home, for its user alone."""
    for value in credentials.values():
        if isinstance(value, Secret):
            coder.hide(value)
    as_json = json.dumps({key: reveal(value) for key, value in sorted(credentials.items())})
    parameters = {"credentials": Secret(as_json)}
    workspace = coder.workspace(username, name)
    if workspace is None:
        coder.create_workspace(username, name, template, parameters)
        return
    if workspace.transition == "start":
        coder.build(coder.await_build(workspace), "stop")
    coder.build(coder.await_build(workspace), "start", parameters)
