"""Grafana's HTTP API, as far as the commands need it: people, in its one organization
(https://grafana.com/docs/grafana/latest/developers/http_api/)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret

ORGANIZATION = 1
PAGE = 1000


@dataclass(frozen=True)
class GrafanaUser:
    """An account: its role in the organization, and whether it administers the server."""

    id: int
    login: str
    role: str
    is_admin: bool
    is_disabled: bool


@dataclass(frozen=True)
class Grafana:
    """A client that administers the server. Every call raises `PlatformError` if Grafana is away or refuses."""

    url: str
    username: str
    password: Secret

    def users(self) -> list[GrafanaUser]:
        """Every account."""
        members = self._send("GET", f"/api/orgs/{ORGANIZATION}/users")
        roles = {member["login"]: member["role"] for member in members}
        found: list[dict[str, Any]] = []
        while len(page := self._send("GET", f"/api/users?perpage={PAGE}&page={len(found) // PAGE + 1}")) == PAGE:
            found += page
        return [
            GrafanaUser(user["id"], user["login"], roles.get(user["login"], ""), user["isAdmin"], user["isDisabled"])
            for user in [*found, *page]
        ]

    def create_user(self, login: str, email: str, password: Secret) -> int:
        """Make an account in the organization; its id."""
        body = {"name": login, "login": login, "email": email, "OrgId": ORGANIZATION}
        return int(self._send("POST", "/api/admin/users", body | {"password": password.reveal()})["id"])

    def set_role(self, user: int, role: str) -> None:
        """Give an account this role in the organization: Viewer, Editor or Admin."""
        self._send("PATCH", f"/api/orgs/{ORGANIZATION}/users/{user}", {"role": role})

    def set_admin(self, user: int, is_admin: bool) -> None:
        """Let an account administer the server, or not."""
        self._send("PUT", f"/api/admin/users/{user}/permissions", {"isGrafanaAdmin": is_admin})

    def set_password(self, user: int, password: Secret) -> None:
        """Set the password of an account."""
        self._send("PUT", f"/api/admin/users/{user}/password", {"password": password.reveal()})

    def sign_out(self, user: int) -> None:
        """End every session of an account."""
        self._send("POST", f"/api/admin/users/{user}/logout", {})

    def disable(self, user: int) -> None:
        """Let an account in no more; its sessions end."""
        self._send("POST", f"/api/admin/users/{user}/disable", {})

    def enable(self, user: int) -> None:
        """Let a disabled account in again."""
        self._send("POST", f"/api/admin/users/{user}/enable", {})

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        account = (self.username, self.password.reveal())
        try:
            answer = httpx.request(method, self.url + path, json=body, auth=account, timeout=30, trust_env=False)
        except httpx.HTTPError as error:
            raise PlatformError(
                f"Grafana does not answer ({error})", where=self.url, do="look at `platform status`"
            ) from None
        if not answer.is_success:
            raise PlatformError(
                f"Grafana refused {method} {path}: {answer.status_code} {_message(answer)}",
                where=self.url,
                do="see `platform logs grafana`",
            )
        return answer.json()


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["message"])
    except (ValueError, LookupError, TypeError):
        return answer.text[:300]
