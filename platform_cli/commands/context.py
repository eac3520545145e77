"""What most commands begin with: the home, the stack, its runtime."""

from __future__ import annotations

from platform_cli.errors import PlatformError
from platform_cli.home import Home, find_home
from platform_cli.local.runtime import LocalRuntime
from platform_cli.stack.compose import load_stack
from platform_cli.workspaces.model import load_all
from platform_cli.workspaces.services import with_workspaces


def open_runtime() -> LocalRuntime:
    """The runtime of a stack that has been set up.

    Raises:
        PlatformError: `platform up` has never run for this home.
    """
    home = find_home()
    if not home.secrets_file.exists():
        raise PlatformError("there is no stack here yet", where=str(home.root), do="run `platform up`")
    return make_runtime(home, create_secrets=False)


def make_runtime(home: Home, *, create_secrets: bool) -> LocalRuntime:
    """The runtime of the stack as the compose files have it, and of the workspaces that are on.

    Args:
        create_secrets: make the secrets that do not exist yet.

    Raises:
        PlatformError: a compose file, a setting or what is kept of a workspace is wrong.
    """
    stack = load_stack(home, create_secrets=create_secrets)
    return LocalRuntime(with_workspaces(stack, load_all(home), home), home)


def open_running() -> LocalRuntime:
    """The same, for commands that need the services to run.

    Raises:
        PlatformError: the stack is not up.
    """
    runtime = open_runtime()
    if not runtime.supervisor.running():
        raise PlatformError("the stack is not running", where=str(runtime.home.root), do="run `platform up`")
    return runtime
