"""MLflow: an account that a person signs in to, and one for the person's programs, which acts as the person.

compose/mlflow/roles.py has the roles and what they grant."""

from __future__ import annotations

import secrets as random
from typing import ClassVar

from platform_cli.clients.mlflow import MLflow
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from platform_cli.users.model import RESERVED, Account, Person, Role
from platform_cli.users.place import Levels, Place

PROGRAMS = ".workspace"
"""The account NAME.workspace is that of the programs of NAME."""
DISABLED = "disabled"
"""The role of an account that may do nothing: MLflow itself knows only accounts that are deleted, and with them who
made which experiment."""


class MLflowPlace(Place):
    """A role is a role of MLflow; an admin has its flag besides."""

    name = "mlflow"
    levels: ClassVar[Levels] = {role: role.value for role in Role}

    def __init__(self, mlflow: MLflow) -> None:
        self._mlflow = mlflow

    def accounts(self) -> dict[str, Account]:
        """Every account but the platform's own and those of programs."""
        ours = {*self.levels.values(), DISABLED}
        found = {}
        for user in self._mlflow.users():
            name = user["username"]
            if name not in RESERVED and not name.endswith(PROGRAMS):
                held = sorted(role["name"] for role in user["roles"] if role["name"] in ours)
                if user["is_admin"] != (held == [Role.ADMIN]):
                    held.append("administrator" if user["is_admin"] else "no administrator")
                found[name] = Account("+".join(held), DISABLED not in held)
        return found

    def create(self, person: Person, level: str, secret: Secret) -> Secret:
        """Make an account, then give it its role."""
        self._mlflow.create_user(person.name, secret)
        self.set_level(person.name, level)
        return secret

    def set_level(self, name: str, level: str) -> None:
        """Have an account in one role, and with the flag of an administrator if that is the one."""
        known = self._mlflow.roles()
        if level not in known:
            raise PlatformError(f"MLflow has no role {level!r}", where=self._mlflow.url, do="run `platform up`")
        held = {role["name"] for user in self._mlflow.users() if user["username"] == name for role in user["roles"]}
        self._mlflow.set_admin(name, level == Role.ADMIN)
        if level not in held:
            self._mlflow.assign_role(name, known[level])
        for role in (held & {*self.levels.values(), DISABLED}) - {level}:
            self._mlflow.unassign_role(name, known[role])

    def set_secret(self, name: str, secret: Secret) -> Secret:
        """Set the password of an account."""
        self._mlflow.set_password(name, secret)
        return secret

    def disable(self, name: str) -> None:
        """Leave an account what it made, with no rights and a password that nobody knows."""
        self._mlflow.set_password(name, Secret(random.token_urlsafe(24)))
        self.set_level(name, DISABLED)


class MLflowProgramsPlace(Place):
    """Accounts NAME.workspace, with no rights but those of NAME."""

    name = "mlflow-programs"
    kept_as = "MLFLOW_TRACKING_PASSWORD"
    levels: ClassVar[Levels] = dict.fromkeys(Role, "as the person")

    def __init__(self, mlflow: MLflow) -> None:
        self._mlflow = mlflow

    def accounts(self) -> dict[str, Account]:
        """Those accounts, by the person's name."""
        names = [user["username"] for user in self._mlflow.users()]
        return {n.removesuffix(PROGRAMS): Account("as the person") for n in names if n.endswith(PROGRAMS)}

    def create(self, person: Person, level: str, secret: Secret) -> Secret:  # noqa: ARG002 - there is one level
        """Make an account without a role."""
        self._mlflow.create_user(person.name + PROGRAMS, secret)
        return secret

    def set_level(self, name: str, level: str) -> None:
        """Do nothing: there is one level."""

    def set_secret(self, name: str, secret: Secret) -> Secret:
        """Set the password of an account."""
        self._mlflow.set_password(name + PROGRAMS, secret)
        return secret

    def disable(self, name: str) -> None:
        """Remove an account: what was made with it is the person's."""
        self._mlflow.delete_user(name + PROGRAMS)
