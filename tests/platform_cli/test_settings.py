from __future__ import annotations

import pytest

from platform_cli.errors import UsageError
from platform_cli.home import Home
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.settings import DEFAULTS_FILE, load_settings, parse_changes, save_settings


def test_the_defaults_are_valid_themselves(home: Home) -> None:
    assert load_settings(home)["MLFLOW_PORT"] == read_env_file(DEFAULTS_FILE)["MLFLOW_PORT"]


def test_the_file_of_the_home_goes_before_the_defaults(home: Home) -> None:
    home.settings_file.write_text("# mine\n\nMLFLOW_PORT='5999'\n")
    assert load_settings(home)["MLFLOW_PORT"] == "5999"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("MLFLOW_PROT=5000", ["unknown setting MLFLOW_PROT", "did you mean MLFLOW_PORT", "allowed are"]),
        ("MLFLOW_PORT=abc", ["MLFLOW_PORT", "a port, 1 to 65535"]),
        ("MLFLOW_PORT=70000", ["a port, 1 to 65535"]),
        ("AIRFLOW_PARALLELISM=0", ["a whole number above 0"]),
        ("LANDING_BUCKET=", ["not empty"]),
        ("MLFLOW_PORT=8080", ["AIRFLOW_PORT and MLFLOW_PORT are both port 8080"]),
        ("WORKSPACE_PORTS=8900", ["WORKSPACE_PORTS", "FIRST-LAST"]),
        ("WORKSPACE_PORTS=9000-8900", ["FIRST-LAST"]),
        ("no equals sign", ["not a KEY=VALUE line", "line 1"]),
        ("S3_PORT=1\nS3_PORT=2", ["S3_PORT is set twice", "line 2"]),
        ("ALERT_TO=slack", ["ALERT_TO", "https://", "mailto:"]),
        ("ALERT_TO=https://", ["ALERT_TO", "an address such as"]),
        ("ALERT_TO=http://host:port/x", ["ALERT_TO", "an address such as"]),
        ("ALERT_TO=mailto:nobody", ["ALERT_TO", "mailto:somebody@example.com"]),
        ("ALERT_TO=mailto:a@example.com", ["ALERT_SMTP_SERVER", "host:port"]),
        ("ALERT_TO=mailto:a@example.com\nALERT_SMTP_SERVER=smtp.example.com", ["ALERT_SMTP_SERVER", "host:port"]),
        ("ALERT_TO=mailto:a@example.com\nALERT_SMTP_SERVER=smtp.example.com:25", ["ALERT_SMTP_FROM", "sender"]),
        ("ALERT_SMTP_TLS=maybe", ["true or false"]),
    ],
)
def test_a_wrong_setting_is_refused_naming_file_key_and_what_is_allowed(
    home: Home, line: str, words: list[str]
) -> None:
    home.settings_file.write_text(line + "\n")
    with pytest.raises(UsageError) as caught:
        load_settings(home)
    message = "\n".join(caught.value.lines())
    assert str(home.settings_file) in message
    assert all(word in message for word in words), message


def test_what_is_empty_by_default_may_be_emptied_again(home: Home) -> None:
    home.settings_file.write_text("ALERT_TO=\nGATEWAY_KEY=\n")
    assert load_settings(home)["ALERT_TO"] == ""


def test_changes_are_saved_and_other_lines_stay(home: Home) -> None:
    home.settings_file.write_text("# a remark\nS3_PORT=9999\nMLFLOW_PORT=5001\n")
    save_settings(home, parse_changes(["MLFLOW_PORT=5002"]))
    assert home.settings_file.read_text() == "# a remark\nS3_PORT=9999\nMLFLOW_PORT=5002\n"


@pytest.mark.parametrize("text", ["MLFLOW_PORT", "NOTHING=1", "MLFLOW_PORT=x"])
def test_a_wrong_change_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_changes([text])
