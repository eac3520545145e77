"""`platform users` with services in memory: what is printed where, exit codes, what is written down."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from platform_cli import main as entry
from platform_cli.commands import users
from platform_cli.errors import PlatformError
from platform_cli.home import Home
from tests.platform_cli.users.in_memory import InMemory

SETTINGS = {"CODER_ADMIN_EMAIL": "admin@example.org"}


@dataclass
class Called:
    """How a call of the command ended."""

    code: int
    out: str
    err: str


@dataclass
class World:
    """The services, what was written down, and the command."""

    run: Any = None
    one: InMemory = field(default_factory=lambda: InMemory("one"))
    two: InMemory = field(default_factory=lambda: InMemory("two"))
    data: InMemory = field(default_factory=lambda: InMemory("data", "DATA_PASSWORD"))
    written: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    warehouse_is_away: bool = False


@pytest.fixture
def world(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> World:
    made = World()

    def run(*words: str) -> Called:
        monkeypatch.setattr(sys, "argv", ["platform", "users", *words])
        with pytest.raises(SystemExit) as ended:
            entry.main()
        said = capsys.readouterr()
        return Called(int(ended.value.code or 0), said.out, said.err)

    def write_down(runtime: object, arguments: list[str]) -> None:
        if made.warehouse_is_away:
            raise PlatformError("audit failed", detail="the warehouse does not answer")
        made.written.append((arguments[1], json.loads(arguments[2])))

    made.run = run
    runtime = SimpleNamespace(home=home, stack=SimpleNamespace(settings=SETTINGS, running=[]))
    monkeypatch.setattr(users, "open_running", lambda: runtime)
    monkeypatch.setattr(users, "open_places", lambda _: [made.one, made.two, made.data])
    monkeypatch.setattr(users, "run_step", write_down)
    return made


def test_add_prints_the_password_alone_and_says_what_it_opens(world: World) -> None:
    done = world.run("add", "ana", "--role", "scientist")
    assert done.code == 0
    assert done.out == f"{world.one.opened_by['ana'].reveal()}\n"
    assert "one              made, scientist\n" in done.err
    assert "the password for one, two, told this once and kept nowhere" in done.err
    assert done.out.strip() not in done.err


def test_where_coder_runs_workspaces_are_given_the_credentials_and_lose_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(users, "is_part_of", lambda stack: True)
    monkeypatch.setattr(users, "workspace_environment", lambda runtime, name: {"WHO": name})
    monkeypatch.setattr(users, "share_credentials", lambda runtime, name, given: shared.append((name, dict(given))))
    for words in (["add", "ana", "--role", "scientist"], ["add", "ana", "--role", "viewer"], ["disable", "ana"]):
        assert world.run(*words).code == 0
    assert shared == [("ana", {"WHO": "ana"}), ("ana", {}), ("ana", {})]


def test_add_again_says_that_there_is_nothing_to_do(world: World) -> None:
    world.run("add", "ana", "--role", "scientist")
    world.written.clear()
    again = world.run("add", "ana", "--role", "scientist")
    assert (again.code, again.out) == (0, "")
    assert again.err == "ana is a scientist already; nothing was changed\n"
    assert world.written == []


def test_another_role_is_changed_everywhere_and_tells_no_password(world: World) -> None:
    world.run("add", "ana", "--role", "viewer")
    changed = world.run("add", "ana", "--role", "engineer")
    assert (changed.code, changed.out) == (0, "")
    assert {account.level for place in (world.one, world.two, world.data) for account in place.known.values()} == {
        "engineer"
    }


def test_a_service_that_is_away_is_named_and_the_password_is_told_all_the_same(world: World) -> None:
    world.two.is_away = True
    done = world.run("add", "ana", "--role", "admin")
    assert (done.code, done.out) == (1, f"{world.one.opened_by['ana'].reveal()}\n")
    assert "error: add ana: not in every service\n  two: two does not answer\n" in done.err
    assert "do:    start it; then `platform users add ana --role admin` again: it completes what is missing" in done.err
    world.two.is_away = False
    assert world.run("add", "ana", "--role", "admin").code == 0
    assert world.two.opened_by.keys() == {"ana"}


def test_as_json(world: World) -> None:
    world.two.breaks = True
    done = world.run("add", "ana", "--role", "admin", "--json")
    told = json.loads(done.out)
    assert done.code == 1
    assert told.pop("password") == world.one.opened_by["ana"].reveal()
    assert told == {
        "person": "ana",
        "role": "admin",
        "opens": ["one"],
        "may_open": ["two"],
        "changes": [
            {"service": "one", "change": "made", "level": "admin"},
            {"service": "data", "change": "made", "level": "admin"},
        ],
        "failed": {"two": "two broke"},
    }


def test_what_was_done_is_written_down_without_a_secret(world: World) -> None:
    password = world.run("add", "ana", "--role", "viewer").out.strip()
    world.two.is_away = True
    world.run("disable", "ana")
    (added, add), (disabled, disable) = world.written
    assert (added, disabled) == ("users_add", "users_disable")
    assert add["done"] == ["one: made viewer", "two: made viewer", "data: made viewer"]
    assert (add["person"], add["role"], add["failed"]) == ("ana", "viewer", {})
    assert (disable["done"], disable["failed"]) == (["data: disabled", "one: disabled"], {"two": "two does not answer"})
    assert password not in json.dumps(world.written)


def test_a_warehouse_that_is_away_keeps_nobody_in(world: World) -> None:
    world.run("add", "ana", "--role", "viewer")
    world.warehouse_is_away = True
    done = world.run("disable", "ana")
    assert done.code == 0
    assert "this is not written down in audit.actions" in done.err
    assert world.one.opened_by == {}


def test_disable_takes_everything_once(world: World) -> None:
    world.run("add", "ana", "--role", "viewer")
    assert world.run("disable", "ana").code == 0
    assert world.one.opened_by == world.two.opened_by == world.data.opened_by == {}
    again = world.run("disable", "ana")
    assert (again.code, again.err) == (0, "ana is disabled already; nothing was changed\n")


def test_disable_that_could_not_ask_everywhere_says_so(world: World) -> None:
    world.run("add", "ana", "--role", "viewer")
    world.two.is_away = True
    done = world.run("disable", "ana")
    assert done.code == 1
    assert "until then there is access where it failed" in done.err
    world.two.is_away = False
    assert world.run("disable", "ana").code == 0
    assert world.two.opened_by == {}


def test_reset_gives_one_new_password_to_what_is_signed_in_to(world: World) -> None:
    first = world.run("add", "ana", "--role", "viewer").out
    before = world.data.opened_by["ana"]
    second = world.run("reset", "ana").out
    assert first != second == f"{world.one.opened_by['ana'].reveal()}\n" == f"{world.two.opened_by['ana'].reveal()}\n"
    assert world.data.opened_by["ana"] == before, "programs go on"


def test_list_shows_who_is_what_and_where(world: World) -> None:
    world.run("add", "ana", "--role", "viewer")
    world.run("add", "ben", "--role", "admin")
    world.run("disable", "ben")
    world.two.breaks = True
    world.run("add", "cleo", "--role", "engineer")
    shown = world.run("list")
    assert shown.code == 0
    assert [line.split() for line in shown.out.splitlines()] == [
        ["NAME", "ROLE", "STATE", "ONE", "TWO", "DATA"],
        ["ana", "viewer", "active", "viewer", "viewer", "viewer"],
        ["ben", "disabled", "disabled", "disabled", "disabled"],
        ["cleo", "?", "incomplete", "engineer", "half", "engineer"],
    ]
    ana, ben, _ = json.loads(world.run("list", "--json").out)
    assert ana == {
        "name": "ana",
        "role": "viewer",
        "state": "active",
        "services": {name: {"level": "viewer", "enabled": True} for name in ("one", "two", "data")},
    }
    assert (ben["role"], ben["state"], ben["services"]["one"]["enabled"]) == (None, "disabled", False)


def test_list_shows_what_it_could_ask_and_names_what_it_could_not(world: World) -> None:
    world.run("add", "ana", "--role", "viewer")
    world.two.is_away = True
    shown = world.run("list", "--json")
    assert shown.code == 1
    assert list(json.loads(shown.out)[0]["services"]) == ["one", "data"]
    assert "error: not everybody is listed\n  two: two does not answer" in shown.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("add", "Ana", "--role", "viewer"), "do:    take 'ana'"),
        (("add", "admin", "--role", "viewer"), "an account of the platform itself"),
        (("add", "ana", "--role", "boss"), "Invalid value for '--role'"),
        (("add", "ana"), "Missing option '--role'"),
        (("add", "ana", "--role", "viewer", "--email", "ana"), "is no e-mail address"),
        (("disable", "nobody"), "there is nobody named 'nobody'"),
        (("reset", "nobody"), "there is nobody named 'nobody'"),
        (("disable", "pipelines"), "an account of the platform itself"),
        (("reset", "ana_b"), "do:    take 'ana-b'"),
        (("reset", "gone"), "gone is disabled"),
    ],
)
def test_a_wrong_call_is_refused_before_anything_is_changed(world: World, words: tuple[str, ...], message: str) -> None:
    world.run("add", "gone", "--role", "viewer")
    world.run("disable", "gone")
    world.written.clear()
    done = world.run(*words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert (world.one.opened_by, world.written) == ({}, [])


def test_the_address_is_made_of_the_name_unless_it_is_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    create = world.one.create
    monkeypatch.setattr(world.one, "create", lambda person, *rest: given.append(person.email) or create(person, *rest))
    world.run("add", "ana", "--role", "viewer")
    world.run("add", "ben", "--role", "viewer", "--email", "ben@elsewhere.net")
    assert given == ["ana@example.org", "ben@elsewhere.net"]


def test_another_command_that_changes_the_stack_is_waited_for(world: World, home: Home) -> None:
    with home.exclusively():
        done = world.run("add", "ana", "--role", "viewer")
    assert done.code == 1
    assert "another `platform` command" in done.err
    assert world.one.known == {}
