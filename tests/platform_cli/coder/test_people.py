from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from platform_cli.coder import people
from platform_cli.coder.client import Coder, Refused
from platform_cli.coder.model import Template
from platform_cli.errors import PlatformError, UsageError
from platform_cli.stack.secrets import Secret
from tests.platform_cli.coder.stand_in import State

ADMIN_PASSWORD = Secret("a-long-enough-password-1234")
TEMPLATE = Template("t", "data-science", "v")


@pytest.fixture
def admin(coder: Coder) -> Iterator[Coder]:
    coder.create_first_user("admin", "admin@example.com", ADMIN_PASSWORD)
    coder.login("admin@example.com", ADMIN_PASSWORD)
    return coder


def roles_of(state: State, username: str) -> list[str]:
    return [role["name"] for role in state.users[username]["roles"]]


def test_a_person_is_let_in_once_and_told_a_password_once(admin: Coder, state: State, url: str) -> None:
    password = people.ensure_user(admin, "ana", "ana@example.com", "scientist")
    assert password is not None
    assert roles_of(state, "ana") == []
    with Coder(url) as ana:
        ana.login("ana@example.com", password)
        assert ana.signed_in()
    state.requests.clear()
    assert people.ensure_user(admin, "ana", "ana@example.com", "scientist") is None
    assert state.changes == []


def test_a_name_within_another_is_not_taken_for_it(admin: Coder) -> None:
    people.ensure_user(admin, "joanna", "joanna@example.com", "scientist")
    assert admin.user("anna") is None
    assert people.ensure_user(admin, "anna", "anna@example.com", "scientist")


def test_roles_are_replaced_as_a_whole(admin: Coder, state: State) -> None:
    people.ensure_user(admin, "ana", "ana@example.com", "engineer")
    assert roles_of(state, "ana") == ["template-admin"]
    people.ensure_user(admin, "ana", "ana@example.com", "admin")
    assert roles_of(state, "ana") == ["owner"]
    people.ensure_user(admin, "ana", "ana@example.com", "scientist")
    assert roles_of(state, "ana") == []


def test_a_role_without_an_account_is_refused_before_anything_is_made(admin: Coder, state: State) -> None:
    with pytest.raises(UsageError, match="no accounts in Coder for the role 'viewer'"):
        people.ensure_user(admin, "ana", "ana@example.com", "viewer")
    assert list(state.users) == ["admin"]


def test_a_disabled_person_is_out_and_their_workspaces_are_stopped(admin: Coder, state: State, url: str) -> None:
    password = people.ensure_user(admin, "ana", "ana@example.com", "scientist")
    assert password is not None
    people.give_credentials(admin, "ana", "work", TEMPLATE, {})
    admin.await_build(admin.workspaces("ana")[0])
    with Coder(url) as ana:
        ana.login("ana@example.com", password)
        assert [stopped.name for stopped in people.disable_user(admin, "ana")] == ["work"]
        assert not ana.signed_in()
    assert state.builds[-1] == {"workspace": "work", "transition": "stop"}
    assert people.disable_user(admin, "ana") == []
    assert people.ensure_user(admin, "ana", "ana@example.com", "scientist") is None
    assert state.users["ana"]["status"] == "active"


def test_nobody_cannot_be_disabled(admin: Coder) -> None:
    with pytest.raises(UsageError, match="nobody named 'ana'"):
        people.disable_user(admin, "ana")


def test_a_refused_password_is_not_shown(admin: Coder) -> None:
    weak = Secret("aaaaaaaaaaaa")
    with pytest.raises(Refused, match="password: insecure password") as refused:
        admin.create_user("ana", "ana@example.com", weak)
    assert weak.reveal() not in str(refused.value.lines())


def test_credentials_reach_a_workspace_and_a_later_start_renews_them(admin: Coder, state: State) -> None:
    people.ensure_user(admin, "ana", "ana@example.com", "scientist")
    people.give_credentials(admin, "ana", "work", TEMPLATE, {"SERVING_API_KEY": Secret("one"), "WAREHOUSE_USER": "ana"})
    people.give_credentials(admin, "ana", "work", TEMPLATE, {"SERVING_API_KEY": Secret("two")})
    assert [build["transition"] for build in state.builds] == ["start", "stop", "start"]
    assert json.loads(state.builds[0]["credentials"]) == {"SERVING_API_KEY": "one", "WAREHOUSE_USER": "ana"}
    assert json.loads(state.builds[2]["credentials"]) == {"SERVING_API_KEY": "two"}


def test_workspaces_say_whose_they_are_and_how(admin: Coder) -> None:
    for name in ("ana", "ben"):
        people.ensure_user(admin, name, f"{name}@example.com", "scientist")
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
