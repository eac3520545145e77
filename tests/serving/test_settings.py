"""The environment is read whole: one message names everything that is wrong, and no secret."""

from pathlib import Path

import pytest

from serving.errors import SettingsError
from serving.run import check_writable
from serving.settings import Settings

ENV = {
    "SERVING_HOST": "127.0.0.1",
    "SERVING_PORT": "8000",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
    "SERVING_API_KEYS": f"client:predict+feedback:{'0' * 64}",
    "SERVING_WEBHOOK_SECRET": "webhook-secret",
    "SERVING_DATA_DIR": "/tmp/data",
}


def test_defaults_fill_what_is_not_set() -> None:
    settings = Settings.from_env(ENV | {"SERVING_POLL_SECONDS": "0.5", "SERVING_MAX_BODY_BYTES": ""})
    assert settings.poll_seconds == 0.5
    assert settings.max_body_bytes == Settings.max_body_bytes
    assert [key.name for key in settings.api_keys] == ["client"]
    assert (settings.durability, settings.allow_pickle, settings.workers) == ("relaxed", False, 1)
    assert settings.journal_dir == Path("/tmp/data/journal")


def test_secrets_are_not_in_the_repr() -> None:
    shown = repr(Settings.from_env(ENV))
    assert "127.0.0.1" in shown
    assert "secret" not in shown


def test_every_wrong_variable_is_named_at_once() -> None:
    wrong = ENV | {
        "SERVING_HOST": "",
        "SERVING_PORT": "70000",
        "SERVING_POLL_SECONDS": "soon",
        "SERVING_MAX_BODY_BYTES": "0",
        "SERVING_API_KEYS": "client:predict:secret-1",
        "SERVING_JOURNAL_DURABILITY": "sometimes",
        "SERVING_ALLOW_PICKLE": "perhaps",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(wrong)
    message = str(caught.value)
    assert "SERVING_HOST is not set" in message
    assert "SERVING_PORT: expected a port from 1 to 65535, got '70000'" in message
    assert "SERVING_POLL_SECONDS: expected a number above 0, got 'soon'" in message
    assert "SERVING_MAX_BODY_BYTES: expected a whole number above 0, got '0'" in message
    assert "SERVING_API_KEYS: " in message
    assert "SERVING_JOURNAL_DURABILITY: expected relaxed or strict, got 'sometimes'" in message
    assert "SERVING_ALLOW_PICKLE: expected true or false, got 'perhaps'" in message
    assert "secret" not in message


def test_a_data_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    check_writable(tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SettingsError, match=r"SERVING_DATA_DIR: .*file/data cannot be written: Not a directory"):
        check_writable(file / "data")
