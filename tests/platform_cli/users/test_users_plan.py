"""What is planned for a person, out of what is wanted and what was found. Nothing is asked or done here."""

from __future__ import annotations

import pytest

from platform_cli.users.model import Account, Role
from platform_cli.users.place import Levels
from platform_cli.users.plan import Action, Found, Kind, State, plan_disable, plan_renew, plan_role, role_of, state_of

PAGES: Levels = {Role.VIEWER: "look", Role.SCIENTIST: "work", Role.ENGINEER: "work", Role.ADMIN: "own"}
DATA: Levels = {Role.VIEWER: None, Role.SCIENTIST: "some", Role.ENGINEER: "all", Role.ADMIN: "all"}
LEVELS = {"pages": PAGES, "data": DATA}
NOBODY: Found = {"pages": None, "data": None}
SCIENTIST: Found = {"pages": Account("work"), "data": Account("some")}
OUT: Found = {"pages": Account("work", enabled=False), "data": None}


@pytest.mark.parametrize(
    ("role", "found", "planned"),
    [
        (Role.SCIENTIST, NOBODY, [(Kind.CREATE, "pages", "work"), (Kind.CREATE, "data", "some")]),
        (Role.VIEWER, NOBODY, [(Kind.CREATE, "pages", "look")]),
        (Role.SCIENTIST, SCIENTIST, []),
        (Role.ENGINEER, SCIENTIST, [(Kind.CHANGE, "data", "all")]),
        (Role.ADMIN, SCIENTIST, [(Kind.CHANGE, "pages", "own"), (Kind.CHANGE, "data", "all")]),
        (Role.VIEWER, SCIENTIST, [(Kind.CHANGE, "pages", "look"), (Kind.DISABLE, "data", "")]),
        (Role.SCIENTIST, OUT, [(Kind.ENABLE, "pages", "work"), (Kind.CREATE, "data", "some")]),
        (Role.VIEWER, {"pages": Account("look"), "data": Account("some", enabled=False)}, []),
        (Role.SCIENTIST, {"data": None}, [(Kind.CREATE, "data", "some")]),
        (Role.SCIENTIST, {"pages": Account("work"), "data": None}, [(Kind.CREATE, "data", "some")]),
    ],
)
def test_a_role_is_reached_by_what_is_missing_alone(
    role: Role, found: Found, planned: list[tuple[Kind, str, str]]
) -> None:
    actions = plan_role(role, LEVELS, found)
    assert actions == [Action(*step) for step in planned]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("found", [NOBODY, SCIENTIST, OUT])
def test_nothing_is_left_to_do_when_a_plan_was_carried_out(role: Role, found: Found) -> None:
    after = dict(found)
    for action in plan_role(role, LEVELS, found):
        level = action.level or (after[action.place] or Account("")).level
        after[action.place] = Account(level, action.kind is not Kind.DISABLE)
    assert plan_role(role, LEVELS, after) == []
    assert state_of(LEVELS, after) is State.ACTIVE


@pytest.mark.parametrize(
    ("found", "places"),
    [(SCIENTIST, ["data", "pages"]), (OUT, []), (NOBODY, []), ({"data": Account("some")}, ["data"])],
)
def test_programs_lose_their_access_first(found: Found, places: list[str]) -> None:
    assert plan_disable(LEVELS, found) == [Action(Kind.DISABLE, place) for place in places]


def test_only_what_is_open_gets_a_new_secret() -> None:
    assert plan_renew({"pages": PAGES}, SCIENTIST) == [Action(Kind.RENEW, "pages", "work")]
    assert plan_renew(LEVELS, OUT) == []


@pytest.mark.parametrize(
    ("found", "role", "state"),
    [
        (SCIENTIST, Role.SCIENTIST, State.ACTIVE),
        (OUT, None, State.DISABLED),
        (NOBODY, None, State.DISABLED),
        ({"pages": Account("look"), "data": None}, Role.VIEWER, State.ACTIVE),
        ({"pages": Account("own"), "data": None}, Role.ADMIN, State.INCOMPLETE),
        ({"pages": Account("look"), "data": Account("some")}, None, State.INCOMPLETE),
        ({"pages": Account("work"), "data": None}, None, State.INCOMPLETE),
        ({"pages": Account("by hand"), "data": None}, None, State.INCOMPLETE),
        ({"data": Account("some")}, Role.SCIENTIST, State.ACTIVE),
        ({"data": Account("all")}, None, State.ACTIVE),
    ],
)
def test_a_person_is_what_every_service_agrees_on(found: Found, role: Role | None, state: State) -> None:
    assert state_of(LEVELS, found) is state
    if state is not State.DISABLED:
        assert role_of(LEVELS, found) is role
