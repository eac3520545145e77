"""Secrets: generated once, kept in one file of mode 0600, and redacted wherever they are shown."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets as random
import string
from collections.abc import Callable, Mapping
from pathlib import Path

import bcrypt

from platform_cli.errors import PlatformError
from platform_cli.stack.envfile import read_env_file

HIDDEN = "********"


class Secret:
    """A text that does not show itself: `str`, `repr` and formatting give asterisks; `reveal()` gives the text."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for handing it to a service or to the owner who asked for it."""
        return self._value

    def __str__(self) -> str:
        return HIDDEN

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and random.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)


Text = str | Secret


def reveal(text: Text) -> str:
    """The plain text of something that may be a secret."""
    return text.reveal() if isinstance(text, Secret) else text


def redact(text: str, known: Mapping[str, Secret]) -> str:
    """`text` with every known secret replaced by asterisks, for showing a service's log."""
    for secret in sorted(filter(None, (s.reveal() for s in known.values())), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _password() -> str:
    return random.token_urlsafe(24)


def _fernet() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def _access_key() -> str:
    return "".join(random.choice(string.ascii_uppercase + string.digits) for _ in range(20))


GENERATORS: dict[str, Callable[[], str]] = {
    "password": _password,
    "fernet": _fernet,
    "hex64": lambda: random.token_hex(32),
    "access_key": _access_key,
    # somebody else's, such as a mail server's password: empty until the owner writes it into the file
    "given": str,
}


def load_secrets(file: Path, declared: Mapping[str, str], *, data: Path, create: bool) -> dict[str, Secret]:
    """The declared secrets from `file`.

    Args:
        file: the secrets file, KEY=VALUE lines.
        declared: name → kind (a key of `GENERATORS`), as the compose files declare them.
        data: the stack's data directory; secrets are not made anew under data that was made with others.
        create: generate those that are missing and save them; values that exist are never changed.

    Raises:
        PlatformError: the file is missing though there is data, or a secret is missing and `create` is false.
    """
    present = read_env_file(file) if file.exists() else {}
    if not present and data.exists() and any(data.iterdir()):
        raise PlatformError(
            "the secrets file is gone, and the data in this home was made with it",
            where=str(file),
            do="put the file back, or start over with `platform down --purge` (this deletes the data)",
        )
    missing = {name: kind for name, kind in declared.items() if name not in present}
    if missing and not create:
        raise PlatformError("the stack has not been set up yet", where=str(file), do="run `platform up`")
    if missing:
        present |= {name: GENERATORS[kind]() for name, kind in missing.items()}
        _write(file, present)
    if file.stat().st_mode & 0o077:
        file.chmod(0o600)
    return {name: Secret(present[name]) for name in declared}


def _write(file: Path, values: Mapping[str, str]) -> None:
    lines = ["# Generated once by `platform up`. Keep it: the data can only be read with it."]
    lines += [f"{name}={value}" for name, value in sorted(values.items())]
    write_private(file, "\n".join(lines) + "\n")


def write_private(file: Path, text: str) -> None:
    """Replace a file in one step; it is readable by its owner alone from the first byte."""
    scratch = file.with_name(file.name + ".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    scratch.replace(file)


def bcrypt_of(secret: Secret) -> Secret:
    """The bcrypt hash of a secret, with a salt drawn from the secret itself, so that it is the same on every call:
    a computed value is not stored, and must not change a config file each time it is computed."""
    digest = hashlib.sha256(b"bcrypt salt of " + secret.reveal().encode()).digest()[:16]
    # bcrypt's own base64 alphabet, see https://en.wikipedia.org/wiki/Bcrypt#Description
    alphabet = bytes.maketrans(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    )
    # 16 bytes are 21 characters and 2 bits; the last character carries only those 2 bits
    salt = base64.b64encode(digest).rstrip(b"=")[:22].translate(alphabet)
    return Secret(bcrypt.hashpw(secret.reveal().encode(), b"$2b$10$" + salt).decode())


def sha256_of(secret: Secret) -> Secret:
    """The SHA-256 of a secret, in hex. Enough for a key that is random and long; for a password `bcrypt_of`."""
    return Secret(hashlib.sha256(secret.reveal().encode()).hexdigest())
