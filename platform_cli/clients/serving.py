"""The model server's REST API, as far as the commands need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret


@dataclass(frozen=True)
class ModelServer:
    """A client of the model server."""

    url: str
    key: Secret

    def models(self) -> list[dict[str, Any]]:
        """What is served: name, version, alias, …"""
        return self._send("GET", "/models")["models"]

    def predict(self, model: str, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Predictions for records.

        Raises:
            PlatformError: the server refused or does not answer; with its message.
        """
        return self._send("POST", f"/models/{model}/predict", json={"records": records})

    def _send(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key.reveal()}"}
        try:
            answer = httpx.request(method, self.url + path, headers=headers, timeout=30, trust_env=False, **options)
        except httpx.HTTPError as error:
            raise PlatformError(f"the model server does not answer ({error})", where=self.url) from None
        if answer.is_error:
            raise PlatformError(f"the model server answered {answer.status_code}: {answer.text[:500]}", where=path)
        return answer.json()
