from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from platform_cli.coder import people
from platform_cli.coder.client import Coder, Refused
from platform_cli.coder.model import Template
from platform_cli.coder.provision import TEMPLATE as TEMPLATE_NAME
from platform_cli.coder.provision import TEMPLATES, push_template
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from tests.platform_cli.coder.stand_in import State

ADMIN_PASSWORD = Secret("a-long-enough-password-1234")
TEMPLATE = Template("t", "data-science", "v")


@pytest.fixture
def admin(coder: Coder) -> Iterator[Coder]:
    coder.create_first_user("admin", "admin@example.com", ADMIN_PASSWORD)
    coder.login("admin@example.com", ADMIN_PASSWORD)
    return coder


@pytest.fixture
def ana(admin: Coder) -> str:
    return admin.create_user("ana", "ana@example.com", Secret("What-Ana-signs-in-with-42")).username


def test_what_a_person_has_running_is_stopped_and_nothing_else(admin: Coder, state: State, ana: str) -> None:
    for owner in (ana, "admin"):
        people.give_credentials(admin, owner, "work", TEMPLATE, {})
    admin.await_build(admin.workspaces(ana)[0])
    assert [stopped.owner for stopped in people.stop_workspaces(admin, ana)] == ["ana"]
    assert state.builds[-1] == {"workspace": "work", "transition": "stop"}
    assert people.stop_workspaces(admin, ana) == []
    assert admin.workspaces("admin")[0].transition == "start"


def test_a_refused_password_is_not_shown(admin: Coder) -> None:
    weak = Secret("aaaaaaaaaaaa")
    with pytest.raises(Refused, match="password: insecure password") as refused:
        admin.create_user("ana", "ana@example.com", weak)
    assert weak.reveal() not in str(refused.value.lines())


def test_credentials_reach_a_workspace_and_a_later_start_renews_them(admin: Coder, state: State, ana: str) -> None:
    people.give_credentials(admin, "ana", "work", TEMPLATE, {"SERVING_API_KEY": Secret("one"), "WAREHOUSE_USER": "ana"})
    people.give_credentials(admin, "ana", "work", TEMPLATE, {"SERVING_API_KEY": Secret("two")})
    assert [build["transition"] for build in state.builds] == ["start", "stop", "start"]
    assert json.loads(state.builds[0]["credentials"]) == {"SERVING_API_KEY": "one", "WAREHOUSE_USER": "ana"}
    assert json.loads(state.builds[2]["credentials"]) == {"SERVING_API_KEY": "two"}


def test_a_workspace_is_started_of_the_template_there_is(admin: Coder, state: State, ana: str) -> None:
    with pytest.raises(PlatformError, match="no template") as told:
        people.start_workspace(admin, ana, "work", {})
    assert "platform coder apply" in (told.value.do or "")
    push_template(admin, TEMPLATES / TEMPLATE_NAME, {}, lambda _: None)
    started = people.start_workspace(admin, ana, "work", {"SERVING_API_KEY": Secret("one")})
    assert (started.owner, started.name, started.status) == (ana, "work", "succeeded")
    assert json.loads(state.builds[0]["credentials"]) == {"SERVING_API_KEY": "one"}


def test_workspaces_say_whose_they_are_and_how(admin: Coder) -> None:
    for name in ("ana", "ben"):
        people.give_credentials(admin, name, "work", TEMPLATE, {})
    assert [(found.owner, found.transition, found.healthy) for found in admin.workspaces()] == [
        ("ana", "start", True),
        ("ben", "start", True),
    ]
    (ana,) = admin.workspaces("ana")
    assert admin.await_build(ana).status == "succeeded"


def test_a_workspace_that_does_not_start_is_said(admin: Coder, state: State) -> None:
    people.give_credentials(admin, "ana", "work", TEMPLATE, {})
    (entry,) = state.workspaces.values()
    entry["ahead"] = ["running", "failed"]
    with pytest.raises(PlatformError, match="start of ana's workspace work is failed"):
        admin.await_build(admin.workspaces("ana")[0])


def test_a_wrong_name_for_a_workspace_is_said(admin: Coder) -> None:
    with pytest.raises(Refused, match=r"400: Validation failed.+name: Validation"):
        people.give_credentials(admin, "ana", "my work", TEMPLATE, {})
