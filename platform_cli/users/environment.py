"""What the programs of a person are given: addresses, and credentials of the person's own that can be revoked."""

from __future__ import annotations

from platform_cli.errors import PlatformError
from platform_cli.local.runtime import LocalRuntime
from platform_cli.stack.secrets import Secret


def workspace_environment(runtime: LocalRuntime, name: str) -> dict[str, Secret | str]:
    """The variables of a person's workspace: MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD,
    MLFLOW_EXPERIMENT_NAME, WAREHOUSE_URL, SERVING_URL, SERVING_API_KEY.

    Addresses are those that the steps are given. The credentials are the person's and the same at every call, until
    they are renewed (`platform users env NAME --renew`) or revoked (`platform users disable NAME`).

    Raises:
        UsageError: there is no such person, the person is disabled, or the role has no workspace (viewer).
        PlatformError: a credential is missing and could not be made, because a service is away.
    """
    raise PlatformError("not made yet", where=name)
