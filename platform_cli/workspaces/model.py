"""A person's workspace: what is remembered of it between two starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.stack.secrets import Secret, Text, reveal, write_private


@dataclass(frozen=True)
class Workspace:
    """One workspace. `on` says whether it shall run; `token` is what a browser signs in with to both programs;
    `environment` holds what its person's programs know."""

    name: str
    jupyter_port: int
    vscode_port: int
    token: Secret
    environment: Mapping[str, Text] = field(default_factory=dict)
    on: bool = False

    @property
    def jupyter_url(self) -> str:
        """JupyterLab's address, without the token."""
        return f"http://127.0.0.1:{self.jupyter_port}"

    @property
    def vscode_url(self) -> str:
        """VS Code's address."""
        return f"http://127.0.0.1:{self.vscode_port}"


def save(workspace: Workspace, home: Home) -> None:
    """Keep a workspace, readable by the owner of the stack alone."""
    known = {
        "jupyter_port": workspace.jupyter_port,
        "vscode_port": workspace.vscode_port,
        "token": workspace.token.reveal(),
        "plain": {key: value for key, value in workspace.environment.items() if isinstance(value, str)},
        "secret": {key: reveal(value) for key, value in workspace.environment.items() if isinstance(value, Secret)},
        "on": workspace.on,
    }
    write_private(_file(home, workspace.name), json.dumps(known, indent=1))


def load(name: str, home: Home) -> Workspace | None:
    """A workspace that was started once; None if there was none.

    Raises:
        PlatformError: what was kept of it cannot be read.
    """
    file = _file(home, name)
    if not file.exists():
        return None
    try:
        known = json.loads(file.read_text())
        environment = known["plain"] | {variable: Secret(value) for variable, value in known["secret"].items()}
        return Workspace(
            name, known["jupyter_port"], known["vscode_port"], Secret(known["token"]), environment, known["on"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PlatformError(
            f"what is kept of the workspace {name} cannot be read",
            where=str(file),
            do=f"delete this file and start the workspace again: its home is kept (`platform workspace start {name}`)",
        ) from None


def load_all(home: Home) -> list[Workspace]:
    """Every workspace that was started once, by name."""
    found = (load(file.stem, home) for file in sorted(_file(home, "*").parent.glob("*.json")))
    return [workspace for workspace in found if workspace is not None]


def _file(home: Home, name: str) -> Path:
    return home.state / "workspaces" / f"{name}.json"
