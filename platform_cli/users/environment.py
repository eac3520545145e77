"""What the programs of a person are given: addresses, and credentials of the person's own that can be revoked."""

from __future__ import annotations

from platform_cli.local.runtime import LocalRuntime
from platform_cli.stack.secrets import Secret

_OF_THE_STEPS = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "WAREHOUSE_URL",
    "SERVING_URL",
    "SERVING_API_KEY",
)


def workspace_environment(runtime: LocalRuntime, name: str) -> dict[str, Secret | str]:
    """The variables of a person's workspace. For the time being the credentials are those of the steps."""
    steps = runtime.stack.services["pipelines"].environment
    return {variable: steps[variable] for variable in _OF_THE_STEPS} | {"MLFLOW_EXPERIMENT_NAME": name}
