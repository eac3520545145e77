"""Which runtime a stack gets, and keeps."""

from __future__ import annotations

import pytest

from platform_cli.commands import context
from platform_cli.commands.context import choose_runtime, keep_runtime, kept_runtime
from platform_cli.docker.engine import Engine, NoEngine
from platform_cli.errors import PlatformError, UsageError
from platform_cli.home import Home
from platform_cli.stack.model import Runtime


@pytest.fixture(params=["none", "refuses", "answers"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    def find() -> Engine:
        if request.param == "none":
            raise NoEngine("there is no container engine on this machine")
        if request.param == "refuses":
            raise PlatformError("no permission to speak to the container engine")
        return Engine("docker")

    monkeypatch.setattr(context.Engine, "find", find)
    return str(request.param)


def test_auto_takes_containers_where_an_engine_answers(home: Home, engine: str) -> None:
    if engine == "refuses":
        with pytest.raises(PlatformError, match="no permission") as told:
            choose_runtime(home, "auto")
        assert "--runtime local" in told.value.do
    else:
        assert choose_runtime(home, "auto") == (Runtime.DOCKER if engine == "answers" else Runtime.LOCAL)


def test_what_is_asked_for_is_taken_or_refused(home: Home, engine: str) -> None:
    assert choose_runtime(home, "local") is Runtime.LOCAL
    if engine == "answers":
        assert choose_runtime(home, "docker") is Runtime.DOCKER
    else:
        with pytest.raises(PlatformError, match="container engine"):
            choose_runtime(home, "docker")


def test_a_stack_keeps_its_runtime(home: Home) -> None:
    keep_runtime(home, Runtime.DOCKER)
    assert choose_runtime(home, "auto") is Runtime.DOCKER
    assert choose_runtime(home, "docker") is Runtime.DOCKER
    with pytest.raises(UsageError, match="runs in the runtime docker") as told:
        choose_runtime(home, "local")
    assert "PLATFORM_HOME" in told.value.do


def test_a_stack_from_before_there_were_two_is_local(home: Home) -> None:
    assert kept_runtime(home) is None
    (home.data / "postgres").mkdir()
    assert kept_runtime(home) is Runtime.LOCAL
