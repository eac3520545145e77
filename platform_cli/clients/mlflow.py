"""MLflow's REST API, as far as the commands need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret


@dataclass(frozen=True)
class MLflow:
    """A client of the tracking server and the model registry."""

    url: str
    username: str
    password: Secret

    def aliased_version(self, model: str, alias: str) -> dict[str, Any]:
        """The model version that an alias names: `version`, `run_id`, `tags`, …"""
        return self._get("registered-models/alias", {"name": model, "alias": alias})["model_version"]

    def versions(self, model: str) -> int:
        """How many versions a model has; 0 if there is no such model."""
        found = self._get("model-versions/search", {"filter": f"name = '{model}'", "max_results": "1000"})
        return len(found.get("model_versions", []))

    def run(self, run_id: str) -> dict[str, Any]:
        """A run: `info` and `data` (metrics, params, tags)."""
        return self._get("runs/get", {"run_id": run_id})["run"]

    def input_example(self, run_id: str, path: str) -> Any:
        """A JSON artifact of a run."""
        return self._send("/get-artifact", {"run_id": run_id, "path": path})

    def users(self) -> list[dict[str, Any]]:
        """Every account: `username`, `is_admin`, `roles`."""
        return self._get("users/list", {})["users"]

    def roles(self) -> dict[str, int]:
        """The ids of the roles, by name."""
        return {role["name"]: role["id"] for role in self._send("/api/3.0/mlflow/roles/list")["roles"]}

    def create_user(self, username: str, password: Secret) -> None:
        """Make an account."""
        self._change("POST", "2.0/mlflow/users/create", {"username": username, "password": password.reveal()})

    def set_password(self, username: str, password: Secret) -> None:
        """Set the password of an account; the one before opens nothing any more."""
        body = {"username": username, "password": password.reveal()}
        self._change("PATCH", "2.0/mlflow/users/update-password", body)

    def set_admin(self, username: str, is_admin: bool) -> None:
        """Let an account administer MLflow, or not."""
        self._change("PATCH", "2.0/mlflow/users/update-admin", {"username": username, "is_admin": is_admin})

    def delete_user(self, username: str) -> None:
        """Remove an account."""
        self._change("DELETE", "2.0/mlflow/users/delete", {"username": username})

    def assign_role(self, username: str, role: int) -> None:
        """Give an account a role, by its id."""
        self._change("POST", "3.0/mlflow/roles/assign", {"username": username, "role_id": role})

    def unassign_role(self, username: str, role: int) -> None:
        """Take a role from an account, by its id."""
        self._change("DELETE", "3.0/mlflow/roles/unassign", {"username": username, "role_id": role})

    def _get(self, path: str, params: dict[str, str]) -> Any:
        return self._send(f"/api/2.0/mlflow/{path}", params)

    def _change(self, method: str, path: str, body: dict[str, Any]) -> None:
        self._send(f"/api/{path}", method=method, json=body)

    def _send(self, path: str, params: dict[str, str] | None = None, method: str = "GET", json: Any = None) -> Any:
        try:
            answer = httpx.request(
                method,
                self.url + path,
                params=params,
                json=json,
                auth=(self.username, self.password.reveal()),
                timeout=60,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise PlatformError(
                f"MLflow does not answer ({error})", where=self.url, do="look at `platform status`"
            ) from None
        if answer.is_error:
            raise PlatformError(f"MLflow answered {answer.status_code}: {answer.text[:300]}", where=path)
        return answer.json()
