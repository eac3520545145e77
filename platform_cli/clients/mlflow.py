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

    def _get(self, path: str, params: dict[str, str]) -> Any:
        return self._send(f"/api/2.0/mlflow/{path}", params)

    def _send(self, path: str, params: dict[str, str]) -> Any:
        try:
            answer = httpx.get(
                self.url + path,
                params=params,
                auth=(self.username, self.password.reveal()),
                timeout=60,
                trust_env=False,
            )
        except httpx.HTTPError as error:
            raise PlatformError(f"MLflow does not answer ({error})", where=self.url) from None
        if answer.is_error:
            raise PlatformError(f"MLflow answered {answer.status_code}: {answer.text[:300]}", where=path)
        return answer.json()
