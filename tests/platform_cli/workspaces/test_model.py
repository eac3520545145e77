"""What is remembered of a workspace."""

from __future__ import annotations

import pytest

from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.stack.secrets import Secret
from platform_cli.workspaces.model import Workspace, load, load_all, save

ANA = Workspace(
    "ana", 8900, 8901, Secret("t0ken"), {"MLFLOW_TRACKING_USERNAME": "ana", "SERVING_API_KEY": Secret("k3y")}, on=True
)


def test_a_workspace_is_kept_whole_for_the_owner_alone(home: Home) -> None:
    save(ANA, home)
    assert load("ana", home) == ANA
    assert load_all(home) == [ANA]
    file = home.state / "workspaces" / "ana.json"
    assert file.stat().st_mode & 0o777 == 0o600


def test_it_does_not_show_what_is_secret(home: Home) -> None:
    save(ANA, home)
    shown = repr(load("ana", home))
    assert "ana" in shown
    assert "t0ken" not in shown
    assert "k3y" not in shown


def test_there_is_none_before_the_first_start(home: Home) -> None:
    assert load("ana", home) is None
    assert load_all(home) == []


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"token": 1, "plain": {}, "secret": [], "on": true}'])
def test_a_broken_file_is_told(home: Home, text: str) -> None:
    file = home.state / "workspaces" / "ana.json"
    file.write_text(text)
    with pytest.raises(PlatformError, match="ana cannot be read") as told:
        load_all(home)
    assert told.value.where == str(file)
