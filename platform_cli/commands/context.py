"""What most commands begin with: the home, the stack, its runtime."""

from __future__ import annotations

from platform_cli.docker.engine import Engine, NoEngine
from platform_cli.docker.runtime import DockerRuntime
from platform_cli.errors import PlatformError, UsageError
from platform_cli.home import Home, find_home
from platform_cli.local.runtime import LocalRuntime
from platform_cli.runtime import StackRuntime
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Runtime
from platform_cli.workspaces.model import load_all
from platform_cli.workspaces.services import with_workspaces

AUTO = "auto"


def open_runtime() -> StackRuntime:
    """The runtime of a stack that has been set up.

    Raises:
        PlatformError: `platform up` has never run for this home, or its engine does not answer.
    """
    home = find_home()
    if not home.secrets_file.exists():
        raise PlatformError("there is no stack here yet", where=str(home.root), do="run `platform up`")
    return make_runtime(home, kept_runtime(home) or Runtime.LOCAL, create_secrets=False)


def open_running() -> StackRuntime:
    """The same, for commands that need the services to run.

    Raises:
        PlatformError: the stack is not up.
    """
    runtime = open_runtime()
    if not runtime.running():
        raise PlatformError("the stack is not running", where=str(runtime.home.root), do="run `platform up`")
    return runtime


def make_runtime(home: Home, kind: Runtime, *, create_secrets: bool) -> StackRuntime:
    """The stack of a home in a runtime; of native processes, workspaces that are on are a part.

    Args:
        create_secrets: make the secrets that do not exist yet.

    Raises:
        PlatformError: a compose file, a setting or what is kept of a workspace is wrong, or no engine answers.
    """
    stack = load_stack(home, create_secrets=create_secrets, runtime=kind)
    if kind is Runtime.DOCKER:
        return DockerRuntime(stack, home, Engine.find())
    return LocalRuntime(with_workspaces(stack, load_all(home), home), home)


def choose_runtime(home: Home, wanted: str) -> Runtime:
    """The runtime of a home: the one that it has, or on the first `up` the one that is wanted; `auto` means containers
    where an engine answers.

    Raises:
        UsageError: the home has the other one.
        PlatformError: containers are wanted, and there is no engine that would do; or there is one that cannot be used.
    """
    kept = kept_runtime(home)
    if kept is not None:
        if wanted not in (AUTO, kept):
            raise UsageError(
                f"this stack runs in the runtime {kept}, where its data is; it cannot go on in {wanted}",
                where=str(home.root),
                do="take another PLATFORM_HOME, or delete this one first (`platform down --purge`)",
            )
        return kept
    if wanted != AUTO:
        if wanted == Runtime.DOCKER:
            Engine.find()
        return Runtime(wanted)
    try:
        Engine.find()
    except NoEngine:
        return Runtime.LOCAL
    except PlatformError as error:
        error.do += "; or do without it: `platform up --runtime local`"
        raise
    return Runtime.DOCKER


def kept_runtime(home: Home) -> Runtime | None:
    """The runtime that the first `up` of this home has chosen; stacks from before there were two are local."""
    if home.runtime_file.exists():
        return Runtime(home.runtime_file.read_text().strip())
    return Runtime.LOCAL if home.data.exists() and any(home.data.iterdir()) else None


def keep_runtime(home: Home, kind: Runtime) -> None:
    """Keep what `choose_runtime` has chosen."""
    home.runtime_file.write_text(f"{kind}\n")
