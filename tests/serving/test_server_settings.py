"""The environment is read whole: one message names everything that is wrong, and no secret."""

import pytest

from serving.errors import SettingsError
from serving.settings import Settings, parse_api_keys

ENV = {
    "SERVING_HOST": "127.0.0.1",
    "SERVING_PORT": "8000",
    "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000",
    "PREDICTIONS_URL": "postgresql://serving:db-secret@127.0.0.1/serving",
    "SERVING_API_KEYS": "client=secret-1,prometheus=secret-2",
    "SERVING_CACHE_DIR": "/tmp/cache",
}


def test_defaults_fill_what_is_not_set() -> None:
    settings = Settings.from_env(ENV | {"SERVING_POLL_SECONDS": "0.5", "SERVING_MAX_BODY_BYTES": ""})
    assert settings.poll_seconds == 0.5
    assert settings.max_body_bytes == Settings.max_body_bytes
    assert settings.api_keys == {"client": "secret-1", "prometheus": "secret-2"}


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
        "SERVING_API_KEYS": "client=secret-1,secret-2",
    }
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(wrong)
    message = str(caught.value)
    assert "SERVING_HOST is not set" in message
    assert "SERVING_PORT: expected a port from 1 to 65535, got '70000'" in message
    assert "SERVING_POLL_SECONDS: expected a number above 0, got 'soon'" in message
    assert "SERVING_MAX_BODY_BYTES: expected a whole number above 0, got '0'" in message
    assert "SERVING_API_KEYS: entry 2 is not of the form name=key" in message
    assert "secret" not in message


@pytest.mark.parametrize("raw", [",", "=key", "name=", "a=1,a=2", "a=1,b=1"])
def test_keys_that_prove_nothing_are_refused(raw: str) -> None:
    with pytest.raises(ValueError, match=r"entry|expected"):
        parse_api_keys(raw)


def test_a_key_may_hold_an_equals_sign() -> None:
    assert parse_api_keys("client=abc=, pipelines=d=e") == {"client": "abc=", "pipelines": "d=e"}
