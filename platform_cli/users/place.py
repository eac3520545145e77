"""What the platform asks of a service in which people have accounts. One file a service stands beside this one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from platform_cli.stack.secrets import Secret
from platform_cli.users.model import Account, Person, Role

Levels = Mapping[Role, str | None]
"""Role → the level of an account, in the service's own words; None: no account."""


class Place(ABC):
    """A service with accounts. Every call raises `PlatformError` if the service is away or refuses."""

    name: str
    levels: ClassVar[Levels]
    kept_as: str = ""
    """The variable by which programs are given what opens the account. Empty: people sign in, with their password."""

    @abstractmethod
    def accounts(self) -> dict[str, Account]:
        """The accounts of people by name, those of the platform itself left out."""

    @abstractmethod
    def create(self, person: Person, level: str, secret: Secret) -> Secret:
        """Make an account that `secret` opens, unless the service makes one of its own; returns what opens it."""

    @abstractmethod
    def set_level(self, name: str, level: str) -> None:
        """Give an account these rights and no others."""

    @abstractmethod
    def set_secret(self, name: str, secret: Secret) -> Secret:
        """Let `secret` alone, or one that the service makes, open an account; returns it."""

    @abstractmethod
    def disable(self, name: str) -> None:
        """Let nobody in by this account, and end what is open by it."""

    def enable(self, name: str, level: str, secret: Secret) -> Secret:
        """Let a disabled account in again, with these rights; returns what opens it."""
        opened = self.set_secret(name, secret)
        self.set_level(name, level)
        return opened
