"""A service with people's accounts that is in memory."""

from __future__ import annotations

from typing import ClassVar

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from platform_cli.users.model import Account, Person, Role
from platform_cli.users.place import Levels, Place


class InMemory(Place):
    """It can be away, or fail after the first half of making an account."""

    levels: ClassVar[Levels] = {role: role.value for role in Role}

    def __init__(self, name: str, kept_as: str = "") -> None:
        self.name = name
        self.kept_as = kept_as
        self.known: dict[str, Account] = {}
        self.opened_by: dict[str, Secret] = {}
        self.is_away = False
        self.breaks = False

    def accounts(self) -> dict[str, Account]:
        self._answer()
        return dict(self.known)

    def create(self, person: Person, level: str, secret: Secret) -> Secret:
        self._answer()
        self.known[person.name] = Account("half")
        self.set_secret(person.name, secret)
        if self.breaks:
            raise PlatformError(f"{self.name} broke")
        self.set_level(person.name, level)
        return secret

    def set_level(self, name: str, level: str) -> None:
        self._answer()
        self.known[name] = Account(level)

    def set_secret(self, name: str, secret: Secret) -> Secret:
        self._answer()
        self.opened_by[name] = secret
        return secret

    def disable(self, name: str) -> None:
        self._answer()
        self.known[name] = Account(self.known[name].level, enabled=False)
        del self.opened_by[name]

    def _answer(self) -> None:
        if self.is_away:
            raise PlatformError(f"{self.name} does not answer", where=f"http://{self.name}", do="start it")
