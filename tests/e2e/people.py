"""People of a stack, and how they come to its services."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import uuid4

import httpx
import psycopg

from tools.scratch import PLATFORM, REPO, Stack

DAG = "/api/v2/dags/flight_delay__release"
PROGRAM = """
import mlflow
with mlflow.start_run() as run:
    mlflow.log_metric("loss", 0.5)
print(run.info.experiment_id, run.info.run_id)
"""
ASK_FOR_A_WORKSPACE = """
import sys
from platform_cli.commands.context import open_running
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from platform_cli.users.environment import workspace_environment
try:
    found = workspace_environment(open_running(), sys.argv[1])
except PlatformError as error:
    sys.exit(error.what)
print(*sorted(key for key, value in found.items() if isinstance(value, Secret)))
"""


def workspace(stack: Stack, name: str) -> subprocess.CompletedProcess[str]:
    """What the command that starts a workspace gets to know."""
    variables = {"PLATFORM_HOME": str(stack.home), "PYTHONPATH": str(REPO), "PATH": "/usr/bin:/bin"}
    command = [str(PLATFORM.with_name("python")), "-c", ASK_FOR_A_WORKSPACE, name]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)


@dataclass
class Someone:
    """A person, as the platform made them."""

    name: str
    role: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Doors:
    """The stack's services, as a person comes to them."""

    stack: Stack

    def mlflow(self, who: Someone | tuple[str, str], method: str, path: str, **body: Any) -> httpx.Response:
        """A call of MLflow's API; what is asked by GET has `body` as parameters."""
        account = (who.name, who.password) if isinstance(who, Someone) else who
        content: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        url = f"{self._owner['mlflow']['url']}/api/{path}"
        return httpx.request(method, url, auth=account, timeout=60, **content)

    def owner(self) -> tuple[str, str]:
        """The owner's account in MLflow."""
        account = self._owner["mlflow"]
        return account["username"], account["password"]

    @contextmanager
    def airflow(self, who: Someone | None) -> Iterator[httpx.Client]:
        """A client that is signed in; as the owner for None."""
        account = self._owner["airflow-api-server"]
        username, password = (who.name, who.password) if who else (account["username"], account["password"])
        with httpx.Client(base_url=account["url"], timeout=60) as client:
            answer = client.post("/auth/token", json={"username": username, "password": password})
            client.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
            yield client

    def lets_into_airflow(self, who: Someone) -> bool:
        """Whether Airflow takes the password."""
        try:
            with self.airflow(who):
                return True
        except httpx.HTTPStatusError as error:
            assert error.response.status_code == 401
            return False

    def programs(self, who: Someone) -> dict[str, str]:
        """What the programs of a person are given."""
        return dict(json.loads(self.stack.platform("users", "env", who.name, "--json", check=True).stdout))

    @cached_property
    def _owner(self) -> dict[str, dict[str, str]]:
        return dict(json.loads(self.stack.platform("credentials", "--json", check=True).stdout))

    def listed(self) -> dict[str, dict[str, Any]]:
        """Everybody, by name."""
        found = json.loads(self.stack.platform("users", "list", "--json", check=True).stdout)
        return {person["name"]: person for person in found}


def added(stack: Stack, role: str) -> Someone:
    name = f"{role}-{uuid4().hex[:6]}"
    return Someone(name, role, stack.platform("users", "add", name, "--role", role, check=True).stdout.strip())


def log_a_run(stack: Stack, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A notebook's first cell, with nothing but what a workspace is given."""
    python = stack.home / "envs" / "pipelines" / "bin" / "python"
    variables = {"PATH": "/usr/bin:/bin", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "DO_NOT_TRACK": "1", **given}
    command = [str(python), "-c", PROGRAM]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)


def closed(doors: Doors, given: dict[str, str]) -> set[str]:
    """The services that refuse what programs were given."""
    found = set()
    account = (given["MLFLOW_TRACKING_USERNAME"], given["MLFLOW_TRACKING_PASSWORD"])
    if not doors.mlflow(account, "POST", "2.0/mlflow/experiments/search", max_results=1).is_success:
        found.add("mlflow")
    try:
        psycopg.connect(given["WAREHOUSE_URL"]).close()
    except psycopg.OperationalError:
        found.add("warehouse")
    headers = {"Authorization": f"Bearer {given['SERVING_API_KEY']}"}
    if not httpx.get(f"{given['SERVING_URL']}/models", headers=headers).is_success:
        found.add("serving")
    return found
