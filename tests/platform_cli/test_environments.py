from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from platform_cli.errors import PlatformError, UsageError
from platform_cli.home import Home
from platform_cli.local.environments import ON_DEMAND, Environment, chosen, environments, install


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """An environment made by a script, as the Debian packages' is: no network is needed."""
    recipe = tmp_path / "recipe" / "install.sh"
    recipe.parent.mkdir()
    recipe.write_text('mkdir -p "$1/bin" "$1/lib/python3.11/site-packages/pkg"\n'
                      'touch "$1/bin/tool" "$1/lib/python3.11/site-packages/pkg/a.py"\n')  # fmt: skip
    made = Environment("toy", (recipe,), tmp_path / "envs" / "toy")
    install(made, tmp_path / "log")
    return made


def test_an_installed_environment_is_whole(environment: Environment) -> None:
    assert environment.whole()


def test_a_new_recipe_makes_it_stale(environment: Environment) -> None:
    environment.recipes[0].write_text(environment.recipes[0].read_text() + "# changed\n")
    assert not environment.whole()


@pytest.mark.parametrize("missing", ["bin/tool", "lib/python3.11/site-packages/pkg", ".stamp.json"])
def test_a_missing_part_is_noticed_and_made_again(environment: Environment, tmp_path: Path, missing: str) -> None:
    path = environment.directory / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not environment.whole()
    install(environment, tmp_path / "log")
    assert environment.whole()


def test_an_emptied_package_is_noticed(environment: Environment) -> None:
    (environment.directory / "lib/python3.11/site-packages/pkg/a.py").unlink()
    assert not environment.whole()


def test_an_interpreter_that_is_gone_is_noticed(environment: Environment) -> None:
    tool = environment.directory / "bin" / "tool"
    tool.unlink()
    tool.symlink_to("/nowhere/python3.11")
    assert not environment.whole()


def test_a_failed_installation_says_why_and_is_not_whole(environment: Environment, tmp_path: Path) -> None:
    environment.recipes[0].write_text("echo no such package >&2; exit 3\n")
    with pytest.raises(PlatformError, match="toy could not be installed") as caught:
        install(environment, tmp_path / "log")
    assert "no such package" in caught.value.detail
    assert not environment.whole()


def test_a_script_adds_to_what_a_lock_brought(tmp_path: Path) -> None:
    lock, script = tmp_path / "requirements.txt", tmp_path / "install.sh"
    lock.write_text("# nothing\n")
    script.write_text('test -x "$1/bin/python" && touch "$1/bin/tool"\n')
    made = Environment("toy", (lock, script), tmp_path / "envs" / "toy")
    install(made, tmp_path / "log")
    assert (made.directory / "bin" / "tool").exists()
    for recipe in (lock, script):
        assert made.whole()
        text = recipe.read_text()
        recipe.write_text(text + "# changed\n")
        assert not made.whole()
        recipe.write_text(text)


def test_what_is_on_demand_is_installed_when_it_is_asked_for_and_then_kept(home: Home) -> None:
    found = environments(home)
    assert set(found) >= ON_DEMAND
    assert set(chosen(found, ())) == set(found) - ON_DEMAND
    assert set(chosen(found, ["spark"])) == {"spark"}
    assert set(chosen(found, list(found))) == set(found)
    found["spark"].directory.mkdir(parents=True)
    assert set(chosen(found, ())) == set(found) - (ON_DEMAND - {"spark"})


def test_an_environment_that_does_not_exist_is_told(home: Home) -> None:
    with pytest.raises(UsageError, match="no environment sparc") as told:
        chosen(environments(home), ["spark", "sparc"])
    assert "spark" in told.value.do
