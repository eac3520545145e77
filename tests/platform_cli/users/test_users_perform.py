"""How a plan is carried out, in services that are in memory: what is told, what is kept, what a failure leaves."""

from __future__ import annotations

import pytest

from platform_cli.home import Home
from platform_cli.users.kept import Kept
from platform_cli.users.model import Person, Role
from platform_cli.users.perform import Outcome, levels_of, look, perform
from platform_cli.users.plan import Action, Kind, State, plan_disable, plan_renew, plan_role, state_of
from tests.platform_cli.users.in_memory import InMemory

ANA = Person("ana", "ana@example.com")


class Services:
    """Two that people sign in to, one for programs, and what the command does with them."""

    def __init__(self, home: Home) -> None:
        self.one, self.two, self.data = InMemory("one"), InMemory("two"), InMemory("data", "DATA_PASSWORD")
        self.places = [self.one, self.two, self.data]
        self.kept = Kept(home)

    def add(self) -> Outcome:
        everyone = look(self.places)
        actions = plan_role(Role.ADMIN, levels_of(self.places), everyone.found("ana"))
        return perform(actions, self.places, ANA, kept=self.kept, away=everyone.away)

    def disable(self) -> Outcome:
        everyone = look(self.places)
        actions = plan_disable(levels_of(self.places), everyone.found("ana"))
        return perform(actions, self.places, ANA, kept=self.kept, away=everyone.away)

    def state(self) -> State:
        return state_of(levels_of(self.places), look(self.places).found("ana"))


@pytest.fixture
def services(home: Home) -> Services:
    return Services(home)


def test_one_password_opens_what_people_sign_in_to_and_programs_have_their_own(services: Services) -> None:
    outcome = services.add()
    assert outcome.opens == ["one", "two"]
    assert services.one.opened_by == services.two.opened_by == {"ana": outcome.password}
    assert services.kept.read("ana") == {"DATA_PASSWORD": services.data.opened_by["ana"]}
    assert services.data.opened_by["ana"] != outcome.password
    assert len(outcome.password.reveal()) >= 24
    assert services.state() is State.ACTIVE


def test_a_second_time_does_nothing(services: Services) -> None:
    services.add()
    before = dict(services.one.opened_by)
    again = services.add()
    assert (again.done, again.opens, again.failed) == ([], [], {})
    assert services.one.opened_by == before


def test_a_service_that_is_away_holds_up_no_other_and_is_made_up_for(services: Services) -> None:
    services.two.is_away = True
    first = services.add()
    assert first.opens == ["one"]
    assert {place: error.what for place, error in first.failed.items()} == {"two": "two does not answer"}
    assert services.kept.read("ana") == {"DATA_PASSWORD": services.data.opened_by["ana"]}
    services.two.is_away = False
    assert services.state() is State.INCOMPLETE
    second = services.add()
    assert [action.place for action in second.done] == ["two"]
    assert (second.opens, services.two.opened_by["ana"]) == (["two"], second.password)
    assert services.one.opened_by["ana"] == first.password, "whom the first password was told to keeps it"


def test_a_password_that_may_be_set_already_is_told(services: Services) -> None:
    services.two.breaks = True
    first = services.add()
    assert (first.opens, first.may_open, list(first.failed)) == (["one"], ["two"], ["two"])
    assert services.two.opened_by["ana"] == first.password
    second = services.add()
    assert second.done == [Action(Kind.CHANGE, "two", "admin")]
    assert (second.opens, second.may_open) == ([], [])


def test_what_programs_had_is_forgotten_with_the_account(services: Services) -> None:
    services.add()
    assert [action.place for action in services.disable().done] == ["data", "two", "one"]
    assert services.kept.read("ana") == {}
    assert services.state() is State.DISABLED
    again = services.add()
    assert {action.kind for action in again.done} == {Kind.ENABLE}
    assert services.state() is State.ACTIVE
    assert services.one.opened_by["ana"] == again.password
    assert services.kept.read("ana") == {"DATA_PASSWORD": services.data.opened_by["ana"]}


def test_what_is_away_is_not_disabled_and_said_so(services: Services) -> None:
    services.add()
    services.data.is_away = True
    outcome = services.disable()
    assert [action.place for action in outcome.done] == ["two", "one"]
    assert list(outcome.failed) == ["data"]
    assert list(services.kept.read("ana")) == ["DATA_PASSWORD"]
    services.data.is_away = False
    assert services.state() is State.INCOMPLETE
    assert [action.place for action in services.disable().done] == ["data"]
    assert services.state() is State.DISABLED


def test_a_new_secret_for_programs_is_kept_and_tells_nobody_a_password(services: Services) -> None:
    services.add()
    before = services.data.opened_by["ana"]
    actions = plan_renew({"data": services.data}, look(services.places).found("ana"))
    outcome = perform(actions, services.places, ANA, kept=services.kept)
    assert services.data.opened_by["ana"] != before
    assert services.kept.read("ana") == {"DATA_PASSWORD": services.data.opened_by["ana"]}
    assert (outcome.opens, outcome.may_open) == ([], [])


def test_each_action_is_said_once_it_is_done(services: Services) -> None:
    services.two.breaks = True
    said: list[Action] = []
    actions = plan_role(Role.ADMIN, levels_of(services.places), look(services.places).found("ana"))
    outcome = perform(actions, services.places, ANA, kept=services.kept, say=said.append)
    assert said == outcome.done
    assert [action.place for action in said] == ["one", "data"]
