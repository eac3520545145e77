from __future__ import annotations

import pytest

from platform_cli import main as entry
from platform_cli.errors import PlatformError, UsageError


def run(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """The exit code of the command when its work ends in `error`."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(entry, "app", fail)
    with pytest.raises(SystemExit) as ended:
        entry.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PlatformError("no room", where="/data", do="make some"), 1, ["error: no room", "where: /data", "make some"]),
        (UsageError("no such thing"), 2, ["error: no such thing"]),
        (PlatformError("it died", detail="its [last] words"), 1, ["its [last] words", "error: it died"]),
        (PermissionError(13, "Permission denied", "/x"), 1, ["Permission denied: '/x'", "--debug"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
    ],
)
def test_an_error_is_one_message_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    words: list[str],
) -> None:
    assert run(monkeypatch, error) == code
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert "Traceback" not in said


def test_with_debug_the_traceback_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry._State, "debug", True)
    monkeypatch.setattr(entry, "app", lambda: (_ for _ in ()).throw(PlatformError("no room")))
    with pytest.raises(PlatformError, match="no room"):
        entry.main()
