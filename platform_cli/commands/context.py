"""What most commands begin with: the home, the stack, its runtime."""

from __future__ import annotations

from platform_cli.errors import PlatformError
from platform_cli.home import find_home
from platform_cli.local.runtime import LocalRuntime
from platform_cli.stack.compose import load_stack


def open_runtime() -> LocalRuntime:
    """The runtime of a stack that has been set up.

    Raises:
        PlatformError: `platform up` has never run for this home.
    """
    home = find_home()
    if not home.secrets_file.exists():
        raise PlatformError("there is no stack here yet", where=str(home.root), do="run `platform up`")
    return LocalRuntime(load_stack(home, create_secrets=False), home)


def open_running() -> LocalRuntime:
    """The same, for commands that need the services to run.

    Raises:
        PlatformError: the stack is not up.
    """
    runtime = open_runtime()
    if not runtime.supervisor.running():
        raise PlatformError("the stack is not running", where=str(runtime.home.root), do="run `platform up`")
    return runtime
