"""What has to be done so that a person is what is wanted. Pure: decided from what was found, before it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from platform_cli.users.model import Account, Role
from platform_cli.users.place import Levels

Everywhere = Mapping[str, Levels]
"""Service → the levels of the roles there, in the order in which accounts are made."""
Found = Mapping[str, Account | None]
"""Service that answered → the person's account there, or None."""


class Kind(StrEnum):
    """What is done with an account."""

    CREATE = "made"
    ENABLE = "enabled again"
    CHANGE = "changed"
    RENEW = "new secret"
    DISABLE = "disabled"


@dataclass(frozen=True)
class Action:
    """One thing to do in one service; `level` is that of the account afterwards, if it has one."""

    kind: Kind
    place: str
    level: str = ""


class State(StrEnum):
    """How a person is."""

    ACTIVE = "active"
    INCOMPLETE = "incomplete"
    DISABLED = "disabled"


def plan_role(role: Role, levels: Everywhere, found: Found) -> list[Action]:
    """What makes a person have this role, in every service that answered."""
    planned = (_wanted(place, levels[place][role], found[place]) for place in levels if place in found)
    return [action for action in planned if action is not None]


def _wanted(place: str, level: str | None, account: Account | None) -> Action | None:
    if level is None:
        return Action(Kind.DISABLE, place) if account is not None and account.enabled else None
    if account is None:
        return Action(Kind.CREATE, place, level)
    if not account.enabled:
        return Action(Kind.ENABLE, place, level)
    return Action(Kind.CHANGE, place, level) if account.level != level else None


def plan_disable(levels: Everywhere, found: Found) -> list[Action]:
    """What takes every access away, that of programs before that of the person."""
    return [Action(Kind.DISABLE, place) for place in reversed(list(levels)) if _is_open(found.get(place))]


def plan_renew(places: Mapping[str, object], found: Found) -> list[Action]:
    """What gives the open accounts in these services a new secret."""
    return [
        Action(Kind.RENEW, place, account.level)
        for place in places
        if (account := found.get(place)) is not None and account.enabled
    ]


def role_of(levels: Everywhere, found: Found) -> Role | None:
    """The one role that all open accounts fit; None if there is no such, or more than one."""
    opened = {place: account.level for place, account in found.items() if account is not None and account.enabled}
    fitting = [role for role in Role if all(levels[place][role] == level for place, level in opened.items())]
    return fitting[0] if len(fitting) == 1 else None


def state_of(levels: Everywhere, found: Found) -> State:
    """How a person is: active if the services that answered have what a role has there, no more and no less."""
    if not any(_is_open(account) for account in found.values()):
        return State.DISABLED
    return State.INCOMPLETE if all(plan_role(role, levels, found) for role in Role) else State.ACTIVE


def _is_open(account: Account | None) -> bool:
    return account is not None and account.enabled
