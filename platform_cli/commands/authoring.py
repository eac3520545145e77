"""What `platform new`, `check` and `test` have in common: they are programs of the steps' environment."""

from __future__ import annotations

import os
import sys

from platform_cli.commands.context import open_running
from platform_cli.commands.run import STEPS_SERVICE, step_environment
from platform_cli.errors import PlatformError
from platform_cli.home import REPO, find_home
from platform_cli.local.environments import environments

MODULE = "pipelines.authoring"


def exec_offline(arguments: list[str]) -> None:
    """Become the command without a stack, in the foreground: only the environments have to be installed.

    Raises:
        PlatformError: the steps' environment is not installed.
    """
    home = find_home()
    environment = environments(home)[STEPS_SERVICE]
    if not environment.whole():
        raise PlatformError("the steps' environment is not installed", do="run `platform install`")
    variables = {"PLATFORM_REPO": str(REPO), "ENVS_DIR": str(home.envs), "PYTHONPATH": str(REPO)}
    _become(str(environment.directory / "bin" / "python"), arguments, os.environ | variables)


def exec_with_stack(arguments: list[str]) -> None:
    """Become the command with all that a step is given; the stack has to run."""
    command, variables = step_environment(open_running())
    _become(command[0], arguments, variables)


def _become(python: str, arguments: list[str], variables: dict[str, str]) -> None:
    sys.stdout.flush()
    os.execvpe(python, [python, "-m", MODULE, *arguments], variables)  # noqa: S606
