"""The volume with a person's credentials, over an engine that answers by a script; the real one is in tests/docker."""

from __future__ import annotations

from typing import cast

import pytest

from platform_cli.coder.credentials import put_credentials, remove_credentials, share_credentials
from platform_cli.docker.engine import Engine
from platform_cli.docker.runtime import DockerRuntime
from platform_cli.errors import PlatformError
from platform_cli.home import Home, project_name
from platform_cli.runtime import StackRuntime
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Runtime, Stack
from platform_cli.stack.secrets import Secret
from tests.platform_cli.docker.fake_docker import FakeDocker

GIVEN = {"SERVING_API_KEY": Secret("it's $ecret"), "SERVING_URL": "http://serving:8000"}


def stack_of(home: Home, profiles: str) -> Stack:
    home.settings_file.write_text(f"COMPOSE_PROFILES={profiles}\n")
    return load_stack(home, create_secrets=True, runtime=Runtime.DOCKER)


def test_they_are_written_into_the_persons_volume_and_shown_to_nobody(docker: FakeDocker, home: Home) -> None:
    written = docker.directory / "written"
    docker.answer("run", f"cat >{written}")
    share_credentials(DockerRuntime(stack_of(home, "coder"), home, Engine.find()), "ana", GIVEN)
    assert written.read_text() == "export SERVING_API_KEY='it'\"'\"'s $ecret'\nexport SERVING_URL=http://serving:8000\n"
    (call,) = (call for call in docker.calls if call.startswith("run "))
    assert f"--volume=coder-{project_name(home)}-credentials-ana:/volume" in call
    assert "--network=none" in call
    assert "ecret" not in call


def test_a_stack_without_coder_has_no_use_for_them(docker: FakeDocker, home: Home) -> None:
    share_credentials(DockerRuntime(stack_of(home, ""), home, Engine.find()), "ana", GIVEN)
    share_credentials(cast(StackRuntime, None), "ana", GIVEN)
    assert not [call for call in docker.calls if call.startswith("run ")]


def test_an_engine_that_does_not_write_them_is_told_without_them(docker: FakeDocker, home: Home) -> None:
    docker.answer("run", "cat >/dev/null; echo 'no space left on device' >&2; exit 125")
    with pytest.raises(PlatformError, match="the credentials of ana could not be put into") as told:
        put_credentials(Engine.find(), stack_of(home, "coder"), "ana", GIVEN)
    assert told.value.detail == "no space left on device"


def test_they_go_with_the_stack_and_those_of_another_stack_stay(docker: FakeDocker, home: Home) -> None:
    own = f"coder-{project_name(home)}-credentials-ana"
    docker.answer("volume ls", f"printf '%s\\n' {own} other-{own}")
    docker.answer("volume rm", "true")
    remove_credentials(DockerRuntime(stack_of(home, "coder"), home, Engine.find()))
    assert [call for call in docker.calls if call.startswith("volume rm")] == [f"volume rm {own}"]
    remove_credentials(cast(StackRuntime, None))
