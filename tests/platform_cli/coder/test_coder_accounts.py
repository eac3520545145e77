"""People's accounts in Coder, over real HTTP, against a stand-in (stand_in.py says what that is)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from platform_cli.coder import people
from platform_cli.coder.client import Coder
from platform_cli.coder.model import Template
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from platform_cli.users.coder import CoderPlace
from platform_cli.users.model import Account, Person, Role
from tests.platform_cli.coder.stand_in import State

ADMIN, ADMIN_PASSWORD = "admin@example.com", Secret("a-long-enough-password-1234")
ANA = Person("ana", "ana@example.com")
FIRST, SECOND = Secret("the-first-PASSWORD-of-ana"), Secret("the-second-PASSWORD-of-ana")


@pytest.fixture
def place(url: str) -> CoderPlace:
    @contextmanager
    def sign_in() -> Iterator[Coder]:
        with Coder(url) as coder:
            if not coder.has_first_user():
                coder.create_first_user("admin", ADMIN, ADMIN_PASSWORD)
            coder.login(ADMIN, ADMIN_PASSWORD)
            yield coder

    return CoderPlace(sign_in)


def lets_in(url: str, password: Secret) -> bool:
    with Coder(url) as coder:
        try:
            coder.login(ANA.email, password)
        except PlatformError:
            return False
        return coder.signed_in()


def level(place: CoderPlace, role: Role) -> str:
    wanted = place.levels[role]
    assert wanted is not None
    return wanted


def test_every_role_is_found_again_as_it_was_made(place: CoderPlace, state: State) -> None:
    assert place.levels[Role.VIEWER] is None
    place.create(ANA, level(place, Role.SCIENTIST), FIRST)
    assert state.users["ana"]["roles"] == []
    for role in (Role.ENGINEER, Role.ADMIN, Role.SCIENTIST):
        place.set_level("ana", level(place, role))
        assert place.accounts() == {"ana": Account(level(place, role))}, "and the first user is nobody's"
    place.create(Person("anna", "anna@example.com"), level(place, Role.ADMIN), SECOND)
    assert place.accounts()["anna"] == Account("owner")


def test_a_new_password_ends_the_sessions_of_the_one_before(place: CoderPlace, url: str) -> None:
    place.create(ANA, "member", FIRST)
    with Coder(url) as coder:
        coder.login(ANA.email, FIRST)
        assert place.set_secret("ana", SECOND) == SECOND
        assert not coder.signed_in()
    assert (lets_in(url, FIRST), lets_in(url, SECOND)) == (False, True)


def test_a_disabled_person_is_out_with_all_that_runs_until_let_in_again(
    place: CoderPlace, url: str, state: State
) -> None:
    place.create(ANA, "template-admin", FIRST)
    with Coder(url) as coder:
        coder.login(ADMIN, ADMIN_PASSWORD)
        people.give_credentials(coder, "ana", "work", Template("t", "data-science", "v"), {})
        coder.await_build(coder.workspaces("ana")[0])
        coder.login(ANA.email, FIRST)
        place.disable("ana")
        assert not coder.signed_in()
    assert state.builds[-1] == {"workspace": "work", "transition": "stop"}
    assert not lets_in(url, FIRST)
    assert place.accounts() == {"ana": Account("template-admin", enabled=False)}
    place.enable("ana", "member", SECOND)
    assert place.accounts() == {"ana": Account("member")}
    assert (lets_in(url, FIRST), lets_in(url, SECOND)) == (False, True)
