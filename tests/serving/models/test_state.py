"""What processes of one server leave for each other and for the next start."""

import json
from pathlib import Path

import pytest

from contract import CANARY_SHARE_TAG, DIGEST_TAG
from serving.models.registry import Version
from serving.models.state import Bell, StateFile

KEPT = [
    ("canary", Version("m", 3, "run-3", {DIGEST_TAG: "b" * 64, CANARY_SHARE_TAG: "25"}, "")),
    ("champion", Version("m", 2, "run-2", {DIGEST_TAG: "a" * 64}, "")),
]


def test_what_is_written_is_read_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert StateFile(path).read() == []
    StateFile(path).write(KEPT)
    assert StateFile(path).read() == KEPT
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["state.json"]


def test_only_a_change_is_written(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = StateFile(path)
    state.write(KEPT)
    path.unlink()
    state.write(list(KEPT))
    assert not path.exists()
    state.write(KEPT[1:])
    assert StateFile(path).read() == KEPT[1:]


@pytest.mark.parametrize("content", ["", "{", "3", '[{"name": "m"}]', '[{"name": "m", "version": "x"}]', '{"a": 1}'])
def test_a_state_that_cannot_be_read_is_none(tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    assert StateFile(path).read() == []
    assert "what served before is not known" in caplog.text


def test_a_failing_write_keeps_the_old_state_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state.json"
    state = StateFile(path)
    state.write(KEPT)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("no space left on device")))
        state.write(KEPT[1:])
    assert "no space left" in caplog.text
    assert len(json.loads(path.read_text())) == 2
    assert [found.name for found in tmp_path.iterdir()] == ["state.json"]
    state.write(KEPT[1:])
    assert StateFile(path).read() == KEPT[1:]


def test_a_bell_is_heard_once_by_each(tmp_path: Path) -> None:
    first, second = Bell(tmp_path / "wake"), Bell(tmp_path / "wake")
    assert not second.heard()
    for _ in range(3):
        first.ring()
        assert second.heard()
        assert not second.heard()
    assert first.heard()
    assert not Bell(tmp_path / "wake").heard(), "what rang before the start is not news"
