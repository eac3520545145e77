"""The model server's REST API, as far as the commands need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret


class Refused(PlatformError):
    """The model server answered with an error: its status and its message."""

    def __init__(self, status: int, message: str, *, where: str) -> None:
        super().__init__(f"the model server answered {status}: {message}", where=where)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class ModelServer:
    """A client of the model server. Every call raises `Refused`, or `PlatformError` if the server does not answer."""

    url: str
    key: Secret

    def champion(self, model: str) -> dict[str, Any] | None:
        """The version of a model that serves as champion: version, run_id, inputs, an example, …"""
        deployments = self._send("GET", "/models")["models"]
        versions = [version for entry in deployments if entry["name"] == model for version in entry["versions"]]
        return next((version for version in versions if version["role"] == "champion"), None)

    def predict(self, model: str, records: list[dict[str, Any]]) -> dict[str, Any]:
        """Predictions for records."""
        return self._send("POST", f"/models/{model}/predict", json={"records": records})

    def keys(self) -> list[dict[str, Any]]:
        """All keys: name, scopes, rate, created, builtin."""
        return self._send("GET", "/keys")["keys"]

    def create_key(self, name: str, scopes: list[str], rate: float | None) -> dict[str, Any]:
        """Make a key; the answer has the key itself as `key`, this once."""
        return self._send("POST", "/keys", json={"name": name, "scopes": scopes, "rate": rate})

    def revoke_key(self, name: str) -> None:
        """Make a key open nothing any more."""
        self._send("DELETE", f"/keys/{quote(name, safe='')}")

    def _send(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key.reveal()}"}
        try:
            answer = httpx.request(method, self.url + path, headers=headers, timeout=30, trust_env=False, **options)
        except httpx.HTTPError as error:
            raise PlatformError(
                f"the model server does not answer ({error})", where=self.url, do="look at `platform status`"
            ) from None
        if not answer.is_success:
            raise Refused(answer.status_code, _message(answer), where=self.url + path)
        return answer.json()


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, LookupError, TypeError):
        return answer.text[:500]
