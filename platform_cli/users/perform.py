"""Looks at all services, and carries out what was planned. A service that is away holds up no other."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from platform_cli.users.kept import Kept
from platform_cli.users.model import Account, Person
from platform_cli.users.place import Place
from platform_cli.users.plan import Action, Everywhere, Found, Kind

PASSWORD_BYTES = 18
SECRET_KINDS = frozenset({Kind.CREATE, Kind.ENABLE, Kind.RENEW})
"""After these, something else opens the account than before."""


@dataclass(frozen=True)
class Everyone:
    """The accounts in every service that answered, and why the others did not."""

    accounts: Mapping[str, Mapping[str, Account]]
    away: Mapping[str, PlatformError]

    @property
    def names(self) -> list[str]:
        """Everybody who has an account anywhere, sorted."""
        return sorted({name for accounts in self.accounts.values() for name in accounts})

    def found(self, name: str) -> Found:
        """One person's account in each service that answered."""
        return {place: accounts.get(name) for place, accounts in self.accounts.items()}


@dataclass
class Outcome:
    """What was done, and what was not.

    `password` is the person's new one, for the services `opens`. Those in `may_open` failed while it was being set
    there, so that it may be the one there too.
    """

    password: Secret
    done: list[Action] = field(default_factory=list)
    failed: dict[str, PlatformError] = field(default_factory=dict)
    opens: list[str] = field(default_factory=list)
    may_open: list[str] = field(default_factory=list)


def levels_of(places: Iterable[Place]) -> Everywhere:
    """The levels of every role in these services."""
    return {place.name: place.levels for place in places}


def look(places: Sequence[Place]) -> Everyone:
    """Ask all services for their accounts, at the same time."""

    def ask(place: Place) -> dict[str, Account] | PlatformError:
        try:
            return place.accounts()
        except PlatformError as error:
            return error

    with ThreadPoolExecutor(max(len(places), 1)) as pool:
        answers = dict(zip([place.name for place in places], pool.map(ask, places), strict=True))
    return Everyone(
        {name: answer for name, answer in answers.items() if not isinstance(answer, PlatformError)},
        {name: answer for name, answer in answers.items() if isinstance(answer, PlatformError)},
    )


def perform(
    actions: Iterable[Action],
    places: Sequence[Place],
    person: Person,
    *,
    kept: Kept,
    away: Mapping[str, PlatformError] | None = None,
    say: Callable[[Action], None] = lambda _: None,
) -> Outcome:
    """Carry the actions out, one after the other; after a failure in one service the others still have their turn.

    Args:
        away: the services that could not even be asked; they count as failed.
        say: is told each action once it is done.
    """
    by_name = {place.name: place for place in places}
    outcome = Outcome(Secret(random.token_urlsafe(PASSWORD_BYTES)), failed=dict(away or {}))
    for action in actions:
        place = by_name[action.place]
        try:
            _carry_out(action, place, person, kept, outcome.password)
        except PlatformError as error:
            outcome.failed[place.name] = error
            told = outcome.may_open
        else:
            outcome.done.append(action)
            say(action)
            told = outcome.opens
        if action.kind in SECRET_KINDS and not place.kept_as:
            told.append(place.name)
    return outcome


def _carry_out(action: Action, place: Place, person: Person, kept: Kept, password: Secret) -> None:
    secret = Secret(random.token_urlsafe(PASSWORD_BYTES)) if place.kept_as else password
    opened: Secret | None = None
    if action.kind is Kind.CREATE:
        opened = place.create(person, action.level, secret)
    elif action.kind is Kind.ENABLE:
        opened = place.enable(person.name, action.level, secret)
    elif action.kind is Kind.CHANGE:
        place.set_level(person.name, action.level)
    elif action.kind is Kind.RENEW:
        opened = place.set_secret(person.name, secret)
    else:
        place.disable(person.name)
    if place.kept_as and opened is not None:
        kept.put(person.name, place.kept_as, opened)
    if place.kept_as and action.kind is Kind.DISABLE:
        kept.drop(person.name, place.kept_as)
