"""The workspaces of people: the credentials in them, and their end. Accounts: platform_cli/users/coder.py."""

from __future__ import annotations

import json
from collections.abc import Mapping

from platform_cli.coder.client import Coder
from platform_cli.coder.model import Template, Workspace
from platform_cli.coder.provision import TEMPLATE
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret, Text, reveal


def stop_workspaces(coder: Coder, username: str) -> list[Workspace]:
    """Stop what a person has running; homes stay. Returns those that were stopped."""
    running = [workspace for workspace in coder.workspaces(username) if workspace.transition == "start"]
    for workspace in running:
        coder.build(workspace, "stop")
    return running


def start_workspace(coder: Coder, username: str, name: str, credentials: Mapping[str, Text]) -> Workspace:
    """Have a person's workspace running with these credentials, and wait for it; it is made if there is none.

    Raises:
        PlatformError: there is no template to make it of, or it does not start.
    """
    template = coder.template(TEMPLATE)
    if template is None:
        raise PlatformError(
            "Coder has no template to make workspaces of", where=coder.url, do="`platform coder apply` pushes it"
        )
    give_credentials(coder, username, name, template, credentials)
    (begun,) = [workspace for workspace in coder.workspaces(username) if workspace.name == name]
    return coder.await_build(begun)


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
