"""The environments of the peers and of the load generator: made once for each state of their locks, under
PLATFORM_HOME/peers."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from benchmarks.serving.peers import DIRECTORY
from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.local.environments import Environment, install

LOAD_GENERATOR = "wrk"


def programs(home: Home, names: Iterable[str]) -> dict[str, Path]:
    """The directory of the programs of each environment in `names`, made if it is missing or its lock has changed.

    Raises:
        PlatformError: one cannot be installed; carries the end of the installation's output.
    """
    home.make()
    found = {}
    for name in dict.fromkeys(names):
        directory = DIRECTORY / name
        recipe = next(path for path in (directory / "requirements.txt", directory / "install.sh") if path.exists())
        environment = Environment(name, (recipe,), home.root / "peers" / name)
        if not environment.whole():
            print(f"installing {name} …", file=sys.stderr, flush=True)
            install(environment, home.log_of(f"peer-{name}"))
        found[name] = environment.directory / "bin"
    return found


def serving_python(home: Home) -> Path:
    """The interpreter of the model server's environment.

    Raises:
        PlatformError: it is not installed.
    """
    python = home.envs / "serving" / "bin" / "python"
    if not python.exists():
        raise PlatformError(
            "the model server's environment is not installed", where=str(python), do="run `platform install`"
        )
    return python
