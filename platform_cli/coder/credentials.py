"""What a person's workspaces find in them: a volume of the engine for each person, which every workspace of theirs has
mounted, whoever made it. Nothing of it goes through Coder."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from platform_cli.coder.provision import credentials_volumes, is_part_of
from platform_cli.docker.engine import DockerFailed, Engine
from platform_cli.docker.runtime import DockerRuntime
from platform_cli.errors import PlatformError
from platform_cli.home import PREFIX
from platform_cli.runtime import StackRuntime
from platform_cli.stack.model import Stack
from platform_cli.stack.secrets import Text, reveal

FILE = "credentials.sh"
# a workspace that reads it meanwhile finds the old or the new
_WRITE = f"umask 022; cat >/volume/{FILE}.new && mv /volume/{FILE}.new /volume/{FILE}"


def share_credentials(runtime: StackRuntime, username: str, variables: Mapping[str, Text]) -> None:
    """Have these variables, and no others, in a person's workspaces, where the stack runs a Coder of its own: in new
    shells at once, in what runs from its next start on.

    Raises:
        PlatformError: the engine does not write them.
    """
    if isinstance(runtime, DockerRuntime) and is_part_of(runtime.stack):
        put_credentials(runtime.engine, runtime.stack, username, variables)


def remove_credentials(runtime: StackRuntime) -> None:
    """Delete the volumes of everybody; one that a workspace has mounted stays."""
    if isinstance(runtime, DockerRuntime):
        prefix = credentials_volumes(runtime.stack)
        found = runtime.engine.run("volume", "ls", "--quiet", f"--filter=name={prefix}").stdout.split()
        for volume in (name for name in found if name.startswith(prefix)):
            runtime.engine.run("volume", "rm", volume, check=False)


def put_credentials(engine: Engine, stack: Stack, username: str, variables: Mapping[str, Text]) -> None:
    """Write the volume of a person. Raises PlatformError."""
    text = "".join(f"export {key}={shlex.quote(reveal(value))}\n" for key, value in sorted(variables.items()))
    # any image of ours has what this needs, and the gateway's is always there
    image = f"{PREFIX}-gateway:{reveal(stack.variables['PLATFORM_VERSION'])}"
    words = ["run", "--rm", "--interactive", "--pull=never", "--network=none", "--user=0"]
    words += ["--cap-drop=ALL", "--cap-add=DAC_OVERRIDE"]
    volume = credentials_volumes(stack) + username
    words += [f"--volume={volume}:/volume", "--entrypoint=sh", image, "-c", _WRITE]
    try:
        engine.run(*words, input=text)
    except DockerFailed as error:
        raise PlatformError(
            f"the credentials of {username} could not be put into the volume {volume}",
            where="docker run",
            do="see what the engine says above, then do it again",
            detail=error.detail,
        ) from None
