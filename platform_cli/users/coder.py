"""Coder: an account for whoever has a workspace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

from platform_cli.coder.client import Coder
from platform_cli.coder.people import stop_workspaces
from platform_cli.stack.secrets import Secret
from platform_cli.users.model import RESERVED, Account, Person, Role
from platform_cli.users.place import Levels, Place

MEMBER = "member"
"""Everybody's level who has no role: may make workspaces of their own."""


class CoderPlace(Place):
    """A level is the one role that an account has beside that of everybody."""

    name = "coder"
    levels: ClassVar[Levels] = {
        Role.VIEWER: None,
        Role.SCIENTIST: MEMBER,
        Role.ENGINEER: "template-admin",
        Role.ADMIN: "owner",
    }

    def __init__(self, sign_in: Callable[[], AbstractContextManager[Coder]]) -> None:
        self._sign_in = sign_in

    def accounts(self) -> dict[str, Account]:
        """Every account but the first user's."""
        with self._sign_in() as coder:
            users = coder.users()
        return {
            user.username: Account("+".join(sorted(user.roles)) or MEMBER, user.status != "suspended")
            for user in users
            if user.username not in RESERVED
        }

    def create(self, person: Person, level: str, secret: Secret) -> Secret:
        """Make an account, then give it its role."""
        with self._sign_in() as coder:
            coder.create_user(person.name, person.email, secret)
            coder.set_roles(person.name, _roles(level))
        return secret

    def set_level(self, name: str, level: str) -> None:
        """Have an account in one role, or none."""
        with self._sign_in() as coder:
            coder.set_roles(name, _roles(level))

    def set_secret(self, name: str, secret: Secret) -> Secret:
        """Set the password of an account."""
        with self._sign_in() as coder:
            coder.set_password(name, secret)
        return secret

    def disable(self, name: str) -> None:
        """Suspend an account, which ends its sessions, and stop its workspaces; homes stay."""
        with self._sign_in() as coder:
            coder.suspend(name)
            stop_workspaces(coder, name)

    def enable(self, name: str, level: str, secret: Secret) -> Secret:
        """Let a suspended account in again."""
        with self._sign_in() as coder:
            coder.set_roles(name, _roles(level))
            coder.set_password(name, secret)
            coder.activate(name)
        return secret


def _roles(level: str) -> list[str]:
    return [] if level == MEMBER else [level]
