"""What `platform new`, `check` and `test` have in common: they are programs of the steps' environment."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from platform_cli.commands.context import kept_runtime, open_running, open_runtime
from platform_cli.commands.run import become
from platform_cli.errors import PlatformError
from platform_cli.home import REPO, Home, find_home
from platform_cli.local.environments import environments
from platform_cli.runtime import STEPS_SERVICE, Program
from platform_cli.stack.model import Runtime

MODULE = "pipelines.authoring"


def exec_offline(arguments: list[str], files: Collection[Path] = ()) -> None:
    """Become the command without a stack, in the foreground: only the environments have to be installed, or the images
    built. `files` are the caller's, which it reads or writes.

    Raises:
        PlatformError: they are not.
    """
    home = find_home()
    in_container = kept_runtime(home) is Runtime.DOCKER
    become(open_runtime().step(MODULE, files=files) if in_container else _program(home), arguments)


def _program(home: Home) -> Program:
    environment = environments(home)[STEPS_SERVICE]
    if not environment.whole():
        raise PlatformError("the steps' environment is not installed", do="run `platform install`")
    variables = {"PLATFORM_REPO": str(REPO), "ENVS_DIR": str(home.envs), "PYTHONPATH": str(REPO)}
    return Program((str(environment.directory / "bin" / "python"), "-m", MODULE), os.environ | variables)


def exec_with_stack(arguments: list[str], files: Collection[Path] = ()) -> None:
    """Become the command with all that a step is given; the stack has to run."""
    become(open_running().step(MODULE, files=files), arguments)
