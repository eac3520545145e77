"""What the platform sets up in Coder, over real HTTP, against a stand-in (stand_in.py says what that is)."""

from __future__ import annotations

import json
import re
import shutil
import sys
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from platform_cli import main as entry
from platform_cli.coder import provision
from platform_cli.coder.client import Coder
from platform_cli.commands import coder as command
from platform_cli.commands import up
from platform_cli.docker.images import stack_images
from platform_cli.errors import PlatformError
from platform_cli.home import Home, find_home, project_name
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Runtime, Stack
from platform_cli.stack.secrets import Secret
from tests.platform_cli.coder.stand_in import State

MONTH = 31 * 24 * 3600.0


@pytest.fixture
def stack(home: Home) -> Stack:
    return load_stack(home, create_secrets=True)


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template that a test may change."""
    shutil.copytree(provision.TEMPLATES / provision.TEMPLATE, tmp_path / "templates" / provision.TEMPLATE)
    monkeypatch.setattr(provision, "TEMPLATES", tmp_path / "templates")
    return tmp_path / "templates" / provision.TEMPLATE


@pytest.fixture
def apply(url: str, stack: Stack, home: Home, template: Path) -> Any:
    def run() -> list[str]:
        """What a new client said while it set Coder up."""
        said: list[str] = []
        with Coder(url) as coder:
            provision.provision(coder, stack, home, said.append)
        return said

    return run


def test_the_first_run_makes_the_first_user_a_token_and_the_template(
    apply: Any, state: State, stack: Stack, home: Home
) -> None:
    said = apply()
    assert list(state.users) == ["admin"]
    password = stack.secrets["CODER_ADMIN_PASSWORD"].reveal()
    assert state.passwords == {"admin@example.com": password}
    assert len(password) <= 64 and len(set(password)) > 10
    assert [template["name"] for template in state.templates.values()] == ["data-science"]
    assert said[-1] == "the template data-science has a new version"
    assert provision.token_file(home).stat().st_mode & 0o777 == 0o600
    assert provision.token_file(home).read_text() in state.tokens
    assert not any(token in line for line in said for token in [*state.tokens, password])


def test_the_second_run_changes_nothing(apply: Any, state: State) -> None:
    apply()
    state.requests.clear()
    assert apply() == ["the template data-science is up to date"]
    assert state.changes == []


def test_the_template_is_told_where_things_are_and_how_much_there_is(
    apply: Any, state: State, stack: Stack, home: Home
) -> None:
    apply()
    (version,) = state.versions.values()
    told = {entry["name"]: entry["value"] for entry in version["user_variable_values"]}
    assert told["mlflow_url"] == f"http://mlflow:{stack.settings['MLFLOW_PORT']}"
    assert told["agent_url"] == "http://coder:7080"
    assert (told["subdomain_apps"], told["gpu"], told["max_cpus"]) == ("false", "false", "4")
    assert told["networks"] == f"mlops-workspaces,{project_name(home)}_people"
    assert told["images"] in {image.name for image in stack_images(stack.settings)}
    assert not set(told.values()) & {secret.reveal() for secret in stack.secrets.values()}


def test_every_value_has_a_variable_in_the_template(stack: Stack) -> None:
    declared = re.findall(
        r'^variable "(\w+)"', (provision.TEMPLATES / "data-science" / "variables.tf").read_text(), re.M
    )
    assert set(provision.template_variables(stack)) <= set(declared)


def test_a_changed_template_makes_one_new_version_and_activates_it(apply: Any, state: State, template: Path) -> None:
    apply()
    (first,) = state.versions
    with (template / "README.md").open("a") as readme:
        readme.write("\nOne more line.\n")
    apply()
    apply()
    assert len(state.versions) == 2
    assert state.templates["data-science"]["active_version_id"] != first


def test_a_changed_setting_makes_one_too(apply: Any, state: State, home: Home, url: str) -> None:
    apply()
    home.settings_file.write_text("WORKSPACE_CPUS=16\n")
    with Coder(url) as coder:
        provision.provision(coder, load_stack(home, create_secrets=False), home, lambda text: None)
    assert len(state.versions) == 2


def test_a_template_that_does_not_build_shows_its_log_and_the_old_version_stays(
    apply: Any, state: State, template: Path
) -> None:
    apply()
    (first,) = state.versions
    (template / "main.tf").write_text("nonsense")
    state.build_fails_with = "Error: Unsupported block type\n  on main.tf line 1"
    with pytest.raises(PlatformError, match="does not build: terraform plan: exit status 1") as failed:
        apply()
    assert "Unsupported block type\n  on main.tf line 1" in failed.value.detail
    assert failed.value.where == str(template)
    assert "version before" in failed.value.do
    assert state.templates["data-science"]["active_version_id"] == first
    # it is tried again, and not taken for done
    state.build_fails_with = ""
    assert apply()[-1] == "the template data-science has a new version"


def test_a_first_template_that_does_not_build_is_not_made(apply: Any, state: State) -> None:
    state.build_fails_with = "Error: no providers"
    with pytest.raises(PlatformError, match="does not build") as failed:
        apply()
    assert "no version before" in failed.value.do
    assert state.templates == {}


def test_a_secret_in_a_build_log_is_not_shown(apply: Any, state: State, stack: Stack) -> None:
    state.build_fails_with = f"Error: password={stack.secrets['CODER_ADMIN_PASSWORD'].reveal()}"
    with pytest.raises(PlatformError) as failed:
        apply()
    assert "password=********" in failed.value.detail


def test_a_build_that_never_ends_is_given_up(coder: Coder, apply: Any, state: State, home: Home) -> None:
    apply()
    coder.token = provision.Secret(provision.token_file(home).read_text())
    (version,) = state.versions.values()
    version["ahead"] = ["pending"] * 1000
    with pytest.raises(PlatformError, match="still pending after 0 s") as failed:
        coder.await_version(coder.version(version["id"]), seconds=0)
    assert "Initializing the backend..." in failed.value.detail


def test_an_expired_token_is_replaced(apply: Any, state: State, home: Home) -> None:
    apply()
    old = provision.token_file(home).read_text()
    state.now += MONTH
    assert apply() == ["signed in to Coder, with a new token", "the template data-science is up to date"]
    assert provision.token_file(home).read_text() != old


def test_a_password_that_was_changed_in_coder_is_said(apply: Any, state: State, stack: Stack) -> None:
    apply()
    state.now += MONTH
    state.passwords["admin@example.com"] = "another one that somebody chose"
    with pytest.raises(PlatformError, match="does not accept the password of admin@") as refused:
        apply()
    message = "\n".join(refused.value.lines())
    assert "CODER_ADMIN_PASSWORD" in message
    assert "coder reset-password admin" in message
    assert stack.secrets["CODER_ADMIN_PASSWORD"].reveal() not in message


@pytest.fixture
def platform(home: Home, stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `platform coder …`."""
        monkeypatch.setattr(sys, "argv", ["platform", "coder", *words])
        with pytest.raises(SystemExit) as ended:
            entry.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_the_command(platform: Any, url: str, state: State) -> None:
    code, _, said = platform("apply", "--url", url)
    assert code == 0
    assert "Coder's first user is admin (admin@example.com)" in said
    code, printed, _ = platform("workspaces", "--url", url, "--json")
    assert (code, printed) == (0, "[]\n")


def test_the_command_that_starts_a_workspace(
    platform: Any, stack: Stack, url: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a person's programs have comes from the services, which is another test's: here it is given."""
    monkeypatch.setattr(command, "open_running", lambda: SimpleNamespace(stack=stack, home=find_home()))
    monkeypatch.setattr(command, "workspace_environment", lambda runtime, name: {"WHO": name, "KEY": Secret("k3y")})
    platform("apply", "--url", url)
    code, printed, said = platform("start", "ana", "--url", url)
    assert (code, printed.strip()) == (0, f"{url}/@ana/work")
    assert json.loads(state.builds[-1]["credentials"]) == {"WHO": "ana", "KEY": "k3y"}
    assert "k3y" not in printed + said


def test_in_the_stacks_own_coder_credentials_do_not_go_through_coder(
    home: Home, server: ThreadingHTTPServer, state: State, monkeypatch: pytest.MonkeyPatch, platform: Any
) -> None:
    home.settings_file.write_text(f"COMPOSE_PROFILES=coder\nCODER_PORT={server.server_port}\n")
    runtime = SimpleNamespace(stack=load_stack(home, create_secrets=True, runtime=Runtime.DOCKER), home=home)
    shared: list[tuple[str, dict[str, Any]]] = []
    for name in ("open_running", "open_runtime"):
        monkeypatch.setattr(command, name, lambda: runtime)
    monkeypatch.setattr(command, "workspace_environment", lambda runtime, name: {"KEY": Secret("k3y")})
    monkeypatch.setattr(command, "share_credentials", lambda runtime, name, given: shared.append((name, given)))
    platform("apply")
    code, printed, _ = platform("start", "ana")
    assert (code, printed.strip()) == (0, f"http://127.0.0.1:{server.server_port}/@ana/work")
    assert shared == [("ana", {"KEY": Secret("k3y")})]
    assert state.builds[-1]["credentials"] == "{}"


def test_a_stack_without_coder_says_how_to_get_one(platform: Any) -> None:
    for words in (["apply"], ["workspaces"]):
        code, _, said = platform(*words)
        assert code == 1
        assert "this stack has no Coder" in said
        assert "--set COMPOSE_PROFILES=coder" in said


@pytest.mark.parametrize("profiles", ["coder", ""])
def test_up_sets_up_the_coder_that_it_has_started(
    profiles: str, home: Home, server: ThreadingHTTPServer, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The containers are not there: the port that the gateway would publish for Coder is the stand-in's."""
    home.settings_file.write_text(f"COMPOSE_PROFILES={profiles}\nCODER_PORT={server.server_port}\n")
    stack = load_stack(home, create_secrets=True, runtime=Runtime.DOCKER)
    runtime = SimpleNamespace(stack=stack, home=home, up=lambda progress: None)
    monkeypatch.setattr(up, "prepare", lambda settings, kind: runtime)
    up.bring_up([])
    up.bring_up([])
    assert (len(state.versions), len(state.templates)) == ((1, 1) if profiles else (0, 0))


def test_a_failed_build_on_the_command_line(platform: Any, url: str, state: State) -> None:
    state.build_fails_with = "Error: Unsupported block type"
    code, _, said = platform("apply", "--url", url)
    assert code == 1
    assert said.index("Error: Unsupported block type") < said.index("error: the template data-science does not build")


def test_a_server_that_is_away(platform: Any, server: ThreadingHTTPServer, url: str) -> None:
    server.shutdown()
    server.server_close()
    code, _, said = platform("apply", "--url", url)
    assert code == 1
    assert "error: Coder does not answer" in said
    assert f"where: {url}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, html="<html>"), "is not Coder"),
        (httpx.Response(308, headers={"Location": "https://coder.example.com/"}), "Coder is somewhere else: https://"),
        (httpx.Response(502, text="Bad Gateway"), "Coder answered 502: Bad Gateway"),
    ],
)
def test_something_else_at_the_address(coder: Coder, answer: httpx.Response, words: str) -> None:
    coder._http = httpx.Client(base_url="http://x", transport=httpx.MockTransport(lambda request: answer))
    with pytest.raises(PlatformError, match=words):
        coder.has_first_user()
