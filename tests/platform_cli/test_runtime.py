from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.local.environments import Environment
from platform_cli.local.progress import Progress
from platform_cli.local.runtime import LocalRuntime
from platform_cli.stack.model import Local, Service, Stack


def runtime(home: Home, recipe: Path, *, optional: bool) -> LocalRuntime:
    """A runtime with one service, whose environment `recipe` makes."""
    service = Service(
        name="web",
        component="web",
        command=("true",),
        environment={},
        depends_on={},
        healthcheck=None,
        configs=(),
        url="",
        page="",
        credentials={},
        one_shot=False,
        profiles=(),
        stop_grace=1.0,
        local=Local(env="web", optional=optional),
    )
    made = LocalRuntime(Stack({"web": service}, {}, {}), home)
    made.environments = {"web": Environment("web", (recipe,), home.envs / "web")}
    return made


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    recipe = tmp_path / "install.sh"
    recipe.write_text("echo 'there is no apt-get here' >&2; exit 1\n")
    return recipe


def test_an_optional_service_that_cannot_be_installed_is_said_and_done_without(home: Home, failing: Path) -> None:
    said = io.StringIO()
    made = runtime(home, failing, optional=True)
    with Progress(Console(file=said, width=160)) as progress:
        made.install(progress)
        made.up(progress)
        (status,) = made.status()
        made.down(progress)
    assert "not available" in said.getvalue()
    assert "there is no apt-get here" in said.getvalue()
    assert (status.state, status.healthy) == ("not available", None)


def test_any_other_service_that_cannot_be_installed_is_a_failure(home: Home, failing: Path) -> None:
    said = io.StringIO()
    with (
        Progress(Console(file=said, width=160)) as progress,
        pytest.raises(PlatformError, match="could not be installed"),
    ):
        runtime(home, failing, optional=False).install(progress)


def test_up_leaves_an_environment_alone_that_nobody_asked_for(home: Home, tmp_path: Path, failing: Path) -> None:
    recipe = tmp_path / "works" / "install.sh"
    recipe.parent.mkdir()
    recipe.write_text('mkdir -p "$1/bin" && touch "$1/bin/tool"\n')
    made = runtime(home, failing, optional=True)
    made.environments["spark"] = Environment("spark", (recipe,), home.envs / "spark")
    with Progress(Console(file=io.StringIO())) as progress:
        made.up(progress)
        made.down(progress)
        assert not made.environments["spark"].whole()
        made.install(progress, ["spark"])
    assert made.environments["spark"].whole()


def test_the_services_are_gone_through_until_nothing_had_to_be_done(home: Home, failing: Path) -> None:
    made = runtime(home, failing, optional=True)
    passes: list[int] = []

    def go_through(sorter: object, progress: Progress) -> None:
        passes.append(len(passes))
        if len(passes) < 3:
            progress.end("web", "healthy")

    made._go_through = go_through  # type: ignore[method-assign] - what a pass does is tested on a real stack
    with Progress(Console(file=io.StringIO())) as progress:
        made.up(progress)
        made.down(progress)
    assert len(passes) == 3
