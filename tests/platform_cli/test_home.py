from __future__ import annotations

import stat
from pathlib import Path

import pytest

from platform_cli.errors import PlatformError
from platform_cli.home import Home, find_home, unreachable_part


def test_one_command_at_a_time_changes_a_stack(home: Home) -> None:
    with home.exclusively(), pytest.raises(PlatformError, match="another `platform` command"), home.exclusively():
        pass
    with home.exclusively():
        pass


def test_only_a_directory_of_the_platforms_own_is_purged(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(PlatformError, match="not made by the platform"):
        Home(tmp_path).purge()
    assert (tmp_path / "precious").exists()


def test_purge_removes_what_make_made_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "kept").touch()
    made = Home(tmp_path / "home")
    made.root.mkdir()
    made.envs.symlink_to(tmp_path / "shared")
    made.make()
    made.purge()
    assert not made.root.exists()
    assert (tmp_path / "shared" / "kept").exists()


def test_others_may_pass_through_a_home_but_not_look_into_it(home: Home) -> None:
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o711
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home.logs, home.state, home.run)} == {0o700}


def test_the_home_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_HOME", str(tmp_path / "mine"))
    assert find_home().root == tmp_path / "mine"


def test_the_closed_directory_on_the_way_is_found(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    for directory in reversed(tmp_path.parents):
        if unreachable_part(directory) is not None:
            assert unreachable_part(closed) == unreachable_part(directory)
            return
    tmp_path.chmod(0o755)
    assert unreachable_part(closed / "home") == closed
