"""The model server: a key for a person's programs."""

from __future__ import annotations

from typing import ClassVar

from platform_cli.clients.serving import ModelServer
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from platform_cli.users.model import Account, Person, Role
from platform_cli.users.place import Levels, Place

PREFIX = "user-"
"""Begins the names of people's keys, so that an application's key is never taken for one."""
LEVEL = "predict+feedback"


class ServingPlace(Place):
    """The server keeps hashes of keys: a key that is revoked is gone, and every new one is another."""

    name = "serving"
    kept_as = "SERVING_API_KEY"
    levels: ClassVar[Levels] = {Role.VIEWER: None, Role.SCIENTIST: LEVEL, Role.ENGINEER: LEVEL, Role.ADMIN: LEVEL}

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    def accounts(self) -> dict[str, Account]:
        """The keys of people."""
        scopes = {key["name"]: key["scopes"] for key in self._server.keys()}  # noqa: SIM118 - a call, and no mapping
        return {
            name.removeprefix(PREFIX): Account("+".join(held))
            for name, held in scopes.items()
            if name.startswith(PREFIX)
        }

    def create(self, person: Person, level: str, secret: Secret) -> Secret:  # noqa: ARG002 - the server makes its own
        """Make a key; the server chooses it."""
        return self._create(person.name)

    def set_level(self, name: str, level: str) -> None:
        """Refuse: what a key allows is settled when it is made."""
        raise PlatformError(
            f"the key {PREFIX}{name} was not made by `platform users`: it allows something else than {level}",
            where="the model server",
            do=f"`platform keys revoke {PREFIX}{name}`, then this again",
        )

    def set_secret(self, name: str, secret: Secret) -> Secret:  # noqa: ARG002 - the server makes its own
        """Revoke a key, and make another one in its place."""
        self.disable(name)
        return self._create(name)

    def disable(self, name: str) -> None:
        """Revoke a key; it opens nothing within a second."""
        self._server.revoke_key(PREFIX + name)

    def _create(self, name: str) -> Secret:
        return Secret(self._server.create_key(PREFIX + name, LEVEL.split("+"), None)["key"])
