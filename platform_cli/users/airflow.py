"""Airflow: an account with one of the roles that Airflow ships."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable
from typing import ClassVar

from platform_cli.clients.airflow import Airflow
from platform_cli.stack.secrets import Secret
from platform_cli.users.model import RESERVED, Account, Person, Role
from platform_cli.users.place import Levels, Place


class AirflowPlace(Place):
    """An account without any role is a disabled one: Airflow's API cannot set its own flag for that."""

    name = "airflow"
    levels: ClassVar[Levels] = {
        Role.VIEWER: "Viewer",
        Role.SCIENTIST: "User",
        Role.ENGINEER: "Op",
        Role.ADMIN: "Admin",
    }

    def __init__(self, sign_in: Callable[[], Airflow]) -> None:
        self._sign_in = sign_in

    def accounts(self) -> dict[str, Account]:
        """Every account but the platform's own."""
        with self._sign_in() as airflow:
            roles = {user["username"]: sorted(role["name"] for role in user["roles"]) for user in airflow.users()}
        return {name: Account("+".join(held), bool(held)) for name, held in roles.items() if name not in RESERVED}

    def create(self, person: Person, level: str, secret: Secret) -> Secret:
        """Make an account with its role."""
        with self._sign_in() as airflow:
            airflow.create_user(person.name, person.email, level, secret)
        return secret

    def set_level(self, name: str, level: str) -> None:
        """Have an account in one role."""
        with self._sign_in() as airflow:
            airflow.set_user_roles(name, [level])

    def set_secret(self, name: str, secret: Secret) -> Secret:
        """Set the password of an account."""
        with self._sign_in() as airflow:
            airflow.set_user_password(name, secret)
        return secret

    def disable(self, name: str) -> None:
        """Set a password that nobody knows, which ends the account's sessions, and take all roles from it."""
        with self._sign_in() as airflow:
            airflow.set_user_password(name, Secret(random.token_urlsafe(24)))
            airflow.set_user_roles(name, [])
