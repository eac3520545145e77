"""All keys that open the server, and who holds the one that a request brings."""

import base64
import binascii
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from serving.errors import RequestError
from serving.keys.key import SCOPES, Key, NewKey, digest_of, is_digest, is_name
from serving.keys.keyfile import KeyFile, KeyFileError, Stamp

log = logging.getLogger(__name__)

PREFIX = "mp_"
"""Begins every key that is made here, so that a scanner of sources finds one that was committed by mistake."""
LOOK_SECONDS = 0.5
"""How old this process's knowledge of the file may be: a key that another process made or revoked is known by then."""
_MAX_SEEN = 1024
_MAX_SEEN_BYTES = 256
_FORM = "name:scope+scope:sha256hex"


class _Known:
    """The keys of one moment. `seen` goes with them, so that nothing is remembered about keys that are gone."""

    __slots__ = ("keys", "seen")

    def __init__(self, keys: dict[str, Key]) -> None:
        self.keys = keys
        self.seen: dict[bytes, Key] = {}


class Keyring:
    """The keys of the settings, and those of a file that the processes of this server share."""

    def __init__(self, builtin: Iterable[Key], file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. One that cannot be read is an error in the log, and opens nothing."""
        self._builtin = {key.name: key for key in builtin}
        self._known = _Known(dict(self._builtin))
        self._file = KeyFile(file)
        self._clock = clock
        self._changing = threading.Lock()
        self._stamp: Stamp | None = None
        self._trouble = ""
        self._next_look = 0.0
        self.refresh()

    def find(self, authorization: bytes | None) -> Key | None:
        """Return the key that an `Authorization` header brings: as `Bearer KEY`, or as the password of `Basic`, which
        is what a browser sends for /docs. None if it is none of ours.

        A header is looked up among those that were right before. CPython compares the bytes only after 64 bits of a
        hash whose seed is random agree, so the time it takes says nothing about a key.
        """
        if self._clock() >= self._next_look:
            self.refresh()
        if authorization is None:
            return None
        known = self._known
        return known.seen.get(authorization) or _search(known, authorization)

    def refresh(self) -> None:
        """Read the file if it is another than the last one read; if it is the same this costs one `stat`."""
        self._next_look = self._clock() + LOOK_SECONDS
        # Whoever holds the lock is changing the keys, and leaves the newest behind.
        if not self._changing.acquire(blocking=False):
            return
        try:
            stamp = self._file.stamp()
            if stamp != self._stamp:
                self._adopt(*self._file.read())
            self._trouble = ""
        except KeyFileError as exc:
            if str(exc) != self._trouble:
                log.error("the keys stay as they were: %s", exc)
            self._trouble = str(exc)
        finally:
            self._changing.release()

    def all(self) -> list[Key]:
        """Return all keys, the built-in ones first."""
        self.refresh()
        return sorted(self._known.keys.values(), key=lambda key: (not key.builtin, key.name))

    def create(self, new: NewKey) -> tuple[Key, str]:
        """Make a key; return it, and the secret that its holder sends. Only its hash is kept.

        Raises:
            RequestError: 409, the name is taken; 503, the file cannot be read or written.
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(new.name, frozenset(new.scopes), digest_of(secret.encode()), new.rate, datetime.now(UTC))

        def add(made: dict[str, Key]) -> dict[str, Key]:
            if key.name in made or key.name in self._builtin:
                raise RequestError(409, f"there is a key {key.name!r} already; revoke it first, or take another name")
            return made | {key.name: key}

        self._change(add)
        log.info("key %s was made: %s", key.name, "+".join(sorted(key.scopes)))
        return key, secret

    def revoke(self, name: str) -> None:
        """Forget a key: this process at once, the others within `LOOK_SECONDS`.

        Raises:
            RequestError: 404, there is none of this name; 409, it is built in; 503, the file cannot be read or written.
        """
        if name in self._builtin:
            raise RequestError(
                409,
                f"{name!r} is a key of the platform itself, made from its secrets; to replace it, delete its line "
                "(SERVING_…_KEY) in secrets.env and run `platform up`, which makes a new one",
            )

        def remove(made: dict[str, Key]) -> dict[str, Key]:
            if name not in made:
                raise RequestError(404, f"there is no key {name!r}; there are: {', '.join(made) or 'none'}")
            return {other: key for other, key in made.items() if other != name}

        self._change(remove)
        log.info("key %s was revoked", name)

    def _change(self, change: Callable[[dict[str, Key]], dict[str, Key]]) -> None:
        try:
            with self._changing, self._file.locked():
                # Not what this process knows: another may have changed the file a moment ago.
                made = {key.name: key for key in self._file.read()[1]}
                self._file.write(change(made).values())
                self._adopt(*self._file.read())
        except KeyFileError as exc:
            raise RequestError(503, f"the keys cannot be changed: {exc}") from exc

    def _adopt(self, stamp: Stamp | None, made: Iterable[Key]) -> None:
        keys = dict(self._builtin)
        for key in made:
            if key.name in self._builtin:
                log.error("the made key %s is not used: the settings have a key of this name", key.name)
            else:
                keys[key.name] = key
        self._known, self._stamp = _Known(keys), stamp


def parse_builtin_keys(raw: str) -> list[Key]:
    """Parse `name:scope+scope:sha256hex,…`.

    Raises:
        ValueError: an entry is wrong. The message tells its position and nothing that stands in it, since what is in
            the wrong place may be a key.
    """
    keys: list[Key] = []
    for position, entry in enumerate(filter(None, (part.strip() for part in raw.split(","))), start=1):
        keys.append(_builtin_key(f"entry {position}", entry))
        if len({key.name for key in keys}) < len(keys) or len({key.digest for key in keys}) < len(keys):
            raise ValueError(f"entry {position} repeats a name or a hash")
    if not keys:
        raise ValueError(f"expected {_FORM},…")
    return keys


def _builtin_key(where: str, entry: str) -> Key:
    name, _, rest = entry.partition(":")
    scopes, _, digest = rest.partition(":")
    if not scopes or not digest:
        raise ValueError(f"{where} is not of the form {_FORM}")
    if not is_name(name):
        raise ValueError(f"{where} has a wrong name")
    if not set(scopes.split("+")) <= set(SCOPES):
        raise ValueError(f"{where} has an unknown scope; the scopes are {', '.join(SCOPES)}")
    if not is_digest(digest):
        raise ValueError(f"{where} has no SHA-256 in hex (64 lower-case digits); keys themselves do not belong here")
    return Key(name, frozenset(scopes.split("+")), digest)


def _search(known: _Known, authorization: bytes) -> Key | None:
    """Compare with every key, each in constant time, so that the answer's time tells nothing about any of them."""
    secret = _presented(authorization)
    if not secret:
        return None
    presented = digest_of(secret)
    found = None
    for key in known.keys.values():
        if hmac.compare_digest(key.digest, presented):
            found = key
    if found is not None and len(authorization) <= _MAX_SEEN_BYTES:
        if len(known.seen) >= _MAX_SEEN:
            known.seen.clear()
        known.seen[authorization] = found
    return found


def _presented(authorization: bytes) -> bytes:
    scheme, _, credentials = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return credentials.strip()
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""
