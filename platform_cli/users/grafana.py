"""Grafana: an account with a role in its one organization."""

from __future__ import annotations

from typing import ClassVar

from platform_cli.clients.grafana import Grafana, GrafanaUser
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from platform_cli.users.model import RESERVED, Account, Person, Role
from platform_cli.users.place import Levels, Place

SERVER_ADMIN = "Server admin"


class GrafanaPlace(Place):
    """A level is a role in the organization; an admin's administers the server too."""

    name = "grafana"
    levels: ClassVar[Levels] = {
        Role.VIEWER: "Viewer",
        Role.SCIENTIST: "Viewer",
        Role.ENGINEER: "Editor",
        Role.ADMIN: SERVER_ADMIN,
    }

    def __init__(self, grafana: Grafana) -> None:
        self._grafana = grafana

    def accounts(self) -> dict[str, Account]:
        """Every account but the server's own."""
        users = [user for user in self._grafana.users() if user.login not in RESERVED]
        return {user.login: Account(_level(user), not user.is_disabled) for user in users}

    def create(self, person: Person, level: str, secret: Secret) -> Secret:
        """Make an account, then give it its role."""
        self._set_level(self._grafana.create_user(person.name, person.email, secret), level)
        return secret

    def set_level(self, name: str, level: str) -> None:
        """Have an account in one role."""
        self._set_level(self._id(name), level)

    def set_secret(self, name: str, secret: Secret) -> Secret:
        """Set the password of an account, and end the sessions that were opened with the one before."""
        user = self._id(name)
        self._grafana.set_password(user, secret)
        self._grafana.sign_out(user)
        return secret

    def disable(self, name: str) -> None:
        """Disable an account; its sessions end."""
        self._grafana.disable(self._id(name))

    def enable(self, name: str, level: str, secret: Secret) -> Secret:
        """Let a disabled account in again."""
        user = self._id(name)
        self._set_level(user, level)
        self._grafana.set_password(user, secret)
        self._grafana.enable(user)
        return secret

    def _set_level(self, user: int, level: str) -> None:
        self._grafana.set_admin(user, level == SERVER_ADMIN)
        self._grafana.set_role(user, "Admin" if level == SERVER_ADMIN else level)

    def _id(self, name: str) -> int:
        for user in self._grafana.users():
            if user.login == name:
                return user.id
        raise PlatformError(f"there is nobody named {name!r} in Grafana", where=self._grafana.url, do="run it again")


def _level(user: GrafanaUser) -> str:
    if user.is_admin == (user.role == "Admin"):
        return SERVER_ADMIN if user.is_admin else user.role
    return f"{user.role}, {'administrator' if user.is_admin else 'no administrator'}"
