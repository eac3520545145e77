from __future__ import annotations

import stat

import bcrypt
import pytest
from cryptography.fernet import Fernet

from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.stack.secrets import GENERATORS, HIDDEN, Secret, bcrypt_of, load_secrets, redact


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("hunter2hunter2")
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>20}", str({"a": secret}), str([secret])]
    assert not any("hunter2" in text for text in shown)
    assert secret.reveal() == "hunter2hunter2"


def test_secrets_are_made_once_for_the_owner_alone(home: Home) -> None:
    first = load_secrets(home.secrets_file, {"A": "password", "F": "fernet"}, data=home.data, create=True)
    assert stat.S_IMODE(home.secrets_file.stat().st_mode) == 0o600
    assert load_secrets(home.secrets_file, {"A": "password", "F": "fernet"}, data=home.data, create=True) == first


def test_a_new_secret_leaves_the_others_as_they_are(home: Home) -> None:
    first = load_secrets(home.secrets_file, {"A": "password"}, data=home.data, create=True)
    both = load_secrets(home.secrets_file, {"A": "password", "B": "hex64"}, data=home.data, create=True)
    assert both["A"] == first["A"]
    assert len(both["B"].reveal()) == 64


def test_a_file_that_others_can_read_is_closed(home: Home) -> None:
    load_secrets(home.secrets_file, {"A": "password"}, data=home.data, create=True)
    home.secrets_file.chmod(0o644)
    load_secrets(home.secrets_file, {"A": "password"}, data=home.data, create=False)
    assert stat.S_IMODE(home.secrets_file.stat().st_mode) == 0o600


def test_secrets_are_not_made_anew_under_existing_data(home: Home) -> None:
    (home.data / "postgres").mkdir()
    with pytest.raises(PlatformError, match="secrets file is gone"):
        load_secrets(home.secrets_file, {"A": "password"}, data=home.data, create=True)
    assert not home.secrets_file.exists()


def test_without_create_a_missing_secret_says_to_set_up(home: Home) -> None:
    with pytest.raises(PlatformError, match="not been set up"):
        load_secrets(home.secrets_file, {"A": "password"}, data=home.data, create=False)


def test_what_the_owner_gives_is_empty_until_they_do_and_is_kept(home: Home) -> None:
    assert load_secrets(home.secrets_file, {"A": "given"}, data=home.data, create=True)["A"].reveal() == ""
    home.secrets_file.write_text(home.secrets_file.read_text().replace("A=", "A=of the mail server"))
    kept = load_secrets(home.secrets_file, {"A": "given", "B": "password"}, data=home.data, create=True)
    assert kept["A"].reveal() == "of the mail server"


@pytest.mark.parametrize("kind", sorted(GENERATORS.keys() - {"given"}))
def test_every_kind_gives_another_value_each_time(kind: str) -> None:
    assert GENERATORS[kind]() != GENERATORS[kind]()


def test_a_fernet_key_is_one() -> None:
    key = GENERATORS["fernet"]()
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"x")) == b"x"


def test_the_bcrypt_hash_verifies_and_does_not_change() -> None:
    secret = Secret("correct horse battery staple")
    assert bcrypt_of(secret) == bcrypt_of(secret)
    assert bcrypt.checkpw(secret.reveal().encode(), bcrypt_of(secret).reveal().encode())
    assert bcrypt_of(secret) != bcrypt_of(Secret("another"))


def test_redact_hides_every_known_secret() -> None:
    known = {"A": Secret("abc"), "B": Secret("abcdef"), "C": Secret("")}
    assert redact("x abcdef y abc z", known) == f"x {HIDDEN} y {HIDDEN} z"
