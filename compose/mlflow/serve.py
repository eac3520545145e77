"""`mlflow …`, but the server takes the place of the command instead of running below it.

The command has imported all of MLflow to read its options; waiting for its child it would keep those 190 MB.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import mlflow.server
from mlflow.cli import cli


def become(command: Sequence[str], *, extra_env: Mapping[str, str], **_: Any) -> None:
    """Replace this process by `command`."""
    os.execvpe(command[0], command, {**os.environ, **extra_env})  # noqa: S606 - becoming it is the purpose


if __name__ == "__main__":
    mlflow.server._exec_cmd = become
    cli()
