"""People's accounts in Grafana, over real HTTP, against a stand-in (grafana_stand_in.py says what that is)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import pytest

from platform_cli.clients import grafana
from platform_cli.clients.grafana import Grafana
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret
from platform_cli.users.grafana import GrafanaPlace
from platform_cli.users.model import Account, Person, Role
from tests.platform_cli.users.grafana_stand_in import Handler, State, person

ANA = Person("ana", "ana@example.com")
FIRST, SECOND = Secret("first-password"), Secret("second-password")


@pytest.fixture
def state() -> State:
    return State([person(1, "admin", "admin@localhost", "admin-password") | {"isAdmin": True, "role": "Admin"}])


@pytest.fixture
def server(state: State) -> Iterator[ThreadingHTTPServer]:
    handler = type("OneServer", (Handler,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def place(server: ThreadingHTTPServer) -> GrafanaPlace:
    return GrafanaPlace(Grafana(f"http://127.0.0.1:{server.server_port}", "admin", Secret("admin-password")))


def test_every_role_is_found_again_as_it_was_made(place: GrafanaPlace, state: State) -> None:
    place.create(ANA, "Viewer", FIRST)
    assert state.of("ana")["email"] == "ana@example.com"
    for role, is_admin in ((Role.ENGINEER, False), (Role.ADMIN, True), (Role.SCIENTIST, False)):
        wanted = place.levels[role]
        assert wanted is not None
        place.set_level("ana", wanted)
        assert place.accounts() == {"ana": Account(wanted)}, "and the owner's is nobody's"
        assert state.of("ana")["isAdmin"] is is_admin
    place.create(Person("ben", "ben@example.com"), "Server admin", FIRST)
    assert place.accounts()["ben"] == Account("Server admin")


def test_rights_that_were_changed_by_hand_are_seen(place: GrafanaPlace, state: State) -> None:
    place.create(ANA, "Editor", FIRST)
    state.of("ana")["isAdmin"] = True
    (found,) = place.accounts().values()
    assert found.level == "Editor, administrator"
    assert found.level not in place.levels.values()
    place.set_level("ana", "Editor")
    assert place.accounts() == {"ana": Account("Editor")}


def test_a_new_password_ends_what_the_one_before_opened(place: GrafanaPlace, state: State) -> None:
    place.create(ANA, "Viewer", FIRST)
    state.of("ana")["sessions"] = 2
    assert place.set_secret("ana", SECOND) == SECOND
    assert (state.lets_in("ana", FIRST.reveal()), state.lets_in("ana", SECOND.reveal())) == (False, True)
    assert state.of("ana")["sessions"] == 0


def test_a_disabled_person_is_out_until_let_in_again(place: GrafanaPlace, state: State) -> None:
    place.create(ANA, "Editor", FIRST)
    place.disable("ana")
    assert not state.lets_in("ana", FIRST.reveal())
    assert place.accounts() == {"ana": Account("Editor", enabled=False)}
    place.enable("ana", "Viewer", SECOND)
    assert place.accounts() == {"ana": Account("Viewer")}
    assert (state.lets_in("ana", FIRST.reveal()), state.lets_in("ana", SECOND.reveal())) == (False, True)


@pytest.mark.parametrize("people", [1, 2, 3, 4, 5])
def test_everybody_is_found_on_however_many_pages(
    place: GrafanaPlace, state: State, monkeypatch: pytest.MonkeyPatch, people: int
) -> None:
    monkeypatch.setattr(grafana, "PAGE", 2)
    for number in range(people):
        place.create(Person(f"p{number}", f"p{number}@example.com"), "Viewer", FIRST)
    assert list(place.accounts()) == [f"p{number}" for number in range(people)]


def test_what_grafana_refuses_is_said_without_the_password(place: GrafanaPlace) -> None:
    place.create(ANA, "Viewer", FIRST)
    with pytest.raises(PlatformError, match=r"412 User with email 'ana@example.com'") as refused:
        place.create(ANA, "Viewer", SECOND)
    assert SECOND.reveal() not in str(refused.value.lines())
    with pytest.raises(PlatformError, match="nobody named 'ben'"):
        place.disable("ben")


def test_a_server_that_is_away_or_knows_another_password(
    place: GrafanaPlace, state: State, server: ThreadingHTTPServer
) -> None:
    state.of("admin")["password"] = "changed"
    with pytest.raises(PlatformError, match="401 Invalid username or password"):
        place.accounts()
    server.shutdown()
    server.server_close()
    with pytest.raises(PlatformError, match="Grafana does not answer"):
        place.accounts()
