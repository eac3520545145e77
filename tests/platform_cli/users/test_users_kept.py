"""The file of what opens the accounts of a person's programs."""

from __future__ import annotations

from pathlib import Path

from platform_cli.home import Home
from platform_cli.stack.secrets import Secret
from platform_cli.users.kept import Kept


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_it_is_for_the_owner_alone_and_goes_with_the_last_secret(home: Home) -> None:
    kept = Kept(home)
    assert kept.read("ana") == {}
    kept.put("ana", "ONE", Secret("a=b #c"))
    kept.put("ana", "TWO", Secret("2"))
    kept.put("ben", "ONE", Secret("another"))
    assert kept.read("ana") == {"ONE": Secret("a=b #c"), "TWO": Secret("2")}
    assert (mode(home.people), mode(home.people / "ana.env")) == (0o700, 0o600)
    kept.put("ana", "TWO", Secret("3"))
    kept.drop("ana", "ONE")
    kept.drop("ana", "NEVER")
    assert kept.read("ana") == {"TWO": Secret("3")}
    kept.drop("ana", "TWO")
    assert [file.name for file in home.people.iterdir()] == ["ben.env"]
