"""Who a key belongs to, and how keys come and go."""

import base64
import json
import logging
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from serving.errors import RequestError
from serving.keys import keyfile
from serving.keys.key import SCOPES, Key, NewKey
from serving.keys.keyring import LOOK_SECONDS, Keyring, parse_builtin_keys

CLIENT = Key("client", frozenset({"predict"}), sha256(b"key-1").hexdigest())
PIPELINES = Key("pipelines", frozenset({"feedback", "metrics"}), sha256(b"key-2").hexdigest())
EMPTY = Key("empty", frozenset(SCOPES), sha256(b"").hexdigest())


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keyring(file: Path, clock: Clock) -> Keyring:
    return Keyring([CLIENT, PIPELINES, EMPTY], file, clock)


def new(name: str, *scopes: str, rate: float | None = None) -> NewKey:
    return NewKey.model_validate({"name": name, "scopes": list(scopes or ["predict"]), "rate": rate})


def bearer(secret: str) -> bytes:
    return f"Bearer {secret}".encode()


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


def refusal(action: object, *arguments: object) -> RequestError:
    with pytest.raises(RequestError) as caught:
        action(*arguments)  # type: ignore[operator]
    return caught.value


@pytest.mark.parametrize(
    ("header", "holder"),
    [
        (b"Bearer key-1", "client"),
        (b"bearer  key-2", "pipelines"),
        (basic("anyone:key-1"), "client"),
        (basic(":key-2"), "pipelines"),
        (b"Bearer key-3", None),
        (b"Bearer key-", None),
        (b"Bearer key-1 key-2", None),
        (b"Bearer ", None),
        (b"Bearer", None),
        (b"key-1", None),
        (b"Basic key-1", None),
        (basic("key-1"), None),
        (basic("anyone:"), None),
        (b"Bearer \xff", None),
        (b"Bearer " + sha256(b"key-1").hexdigest().encode(), None),
        (b"", None),
        (None, None),
    ],
)
def test_only_a_whole_key_in_the_right_place_opens(keyring: Keyring, header: bytes | None, holder: str | None) -> None:
    for _ in range(2):  # the second time from what is remembered
        found = keyring.find(header)
        assert (found.name if found else None) == holder


def test_a_made_key_is_shown_once_and_kept_as_a_hash(keyring: Keyring, file: Path) -> None:
    key, secret = keyring.create(new("app", "predict", "feedback", rate=5))
    assert secret.startswith("mp_")
    assert len(secret) == len("mp_") + 43
    found = keyring.find(bearer(secret))
    assert found == key
    assert found.caller.name == "app"
    assert found.caller.scopes == {"predict", "feedback"}
    assert found.rate == 5
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret not in file.read_text()
    assert sha256(secret.encode()).hexdigest() in file.read_text()
    assert secret not in json.dumps([entry.describe() for entry in keyring.all()])
    assert [entry.name for entry in keyring.all()] == ["client", "empty", "pipelines", "app"]


def test_a_made_key_outlives_the_process(keyring: Keyring, file: Path) -> None:
    key, secret = keyring.create(new("app"))
    assert Keyring([], file).find(bearer(secret)) == key


def test_a_revoked_key_opens_nothing_at_once(keyring: Keyring) -> None:
    _, secret = keyring.create(new("app"))
    _, other = keyring.create(new("other"))
    assert keyring.find(bearer(secret))
    keyring.revoke("app")
    assert keyring.find(bearer(secret)) is None
    assert keyring.find(bearer(other))


def test_another_process_learns_of_it_in_time(keyring: Keyring, file: Path, clock: Clock) -> None:
    other = Keyring([], file, clock)
    _, secret = keyring.create(new("app"))
    clock.now += LOOK_SECONDS
    assert other.find(bearer(secret))
    keyring.revoke("app")
    clock.now += LOOK_SECONDS
    assert other.find(bearer(secret)) is None
    assert LOOK_SECONDS <= 1


def test_a_change_is_noticed_though_inode_and_clock_are_the_same(
    keyring: Keyring, file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyfile.time, "time_ns", lambda: 1_000_000)
    _, first = keyring.create(new("aaa"))
    before = file.stat()
    keyring.revoke("aaa")
    keyring.create(new("bbb"))
    assert file.stat().st_size == before.st_size
    assert file.stat().st_mtime_ns > before.st_mtime_ns
    assert keyring.find(bearer(first)) is None


def test_a_name_is_given_once(keyring: Keyring) -> None:
    keyring.create(new("app"))
    for name in ("app", "client"):
        error = refusal(keyring.create, new(name))
        assert error.status == 409
        assert name in error.message


def test_what_cannot_be_revoked_is_said(keyring: Keyring) -> None:
    builtin = refusal(keyring.revoke, "client")
    assert builtin.status == 409
    assert "secrets.env" in builtin.message
    keyring.create(new("app"))
    unknown = refusal(keyring.revoke, "ap")
    assert unknown.status == 404
    assert unknown.message == "there is no key 'ap'; there are: app"


def test_a_made_key_gives_way_to_a_built_in_one_of_its_name(
    keyring: Keyring, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, secret = keyring.create(new("app", "admin"))
    builtin = Key("app", frozenset({"predict"}), sha256(b"key-9").hexdigest())
    later = Keyring([builtin], file)
    assert later.find(bearer(secret)) is None
    assert later.find(bearer("key-9")) == builtin
    assert "the made key app is not used" in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"keys": [{}]}',
        '{"keys": [{"name": "x", "scopes": ["root"], "sha256": "", "created": "2026-01-01T00:00:00Z"}]}',
    ],
)
def test_a_broken_file_opens_nothing_and_shuts_nothing(
    keyring: Keyring, file: Path, clock: Clock, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    _, secret = keyring.create(new("app"))
    file.write_text(content)
    for _ in range(3):
        clock.now += LOOK_SECONDS
        assert keyring.find(bearer(secret)), "the last good keys stay"
        assert keyring.find(b"Bearer ") is None
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1
    assert str(file) in caplog.text
    assert refusal(keyring.create, new("other")).status == 503
    assert refusal(keyring.revoke, "app").status == 503
    assert file.read_text() == content
    fresh = Keyring([CLIENT], file)
    assert fresh.find(bearer(secret)) is None
    assert fresh.find(b"Bearer key-1")


def test_a_mended_file_is_read_again(keyring: Keyring, file: Path, clock: Clock) -> None:
    _, secret = keyring.create(new("app"))
    good = file.read_text()
    file.write_text("{")
    clock.now += LOOK_SECONDS
    keyring.find(None)
    file.write_text(good.replace('"app"', '"web"'))
    clock.now += LOOK_SECONDS
    found = keyring.find(bearer(secret))
    assert found
    assert found.name == "web"


def test_a_file_that_is_gone_has_no_keys(keyring: Keyring, file: Path, clock: Clock) -> None:
    _, secret = keyring.create(new("app"))
    file.unlink()
    clock.now += LOOK_SECONDS
    assert keyring.find(bearer(secret)) is None


def test_a_write_that_fails_changes_nothing(keyring: Keyring, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = keyring.create(new("app"))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keyfile.os, "fsync", full)
    error = refusal(keyring.create, new("other"))
    assert error.status == 503
    assert "No space left on device" in error.message
    assert [key.name for key in Keyring([], file).all()] == ["app"]
    assert keyring.find(bearer(secret))


def test_processes_that_change_keys_at_the_same_time_lose_none(file: Path) -> None:
    rings = [Keyring([], file) for _ in range(4)]
    start = threading.Barrier(len(rings))

    def make(number: int) -> None:
        start.wait()
        for turn in range(5):
            rings[number].create(new(f"key-{number}-{turn}"))

    with ThreadPoolExecutor(len(rings)) as threads:
        list(threads.map(make, range(len(rings))))
    assert len(Keyring([], file).all()) == 20


def test_what_is_remembered_of_headers_is_bounded(keyring: Keyring) -> None:
    for number in range(3000):
        assert keyring.find(basic(f"user-{number}:key-1"))
    assert keyring.find(basic("u" * 10_000 + ":key-1"))
    assert len(keyring._known.seen) <= 1024
    assert max(map(len, keyring._known.seen)) <= 256


def test_the_settings_keys_are_parsed() -> None:
    one, two = sha256(b"1").hexdigest(), sha256(b"2").hexdigest()
    keys = parse_builtin_keys(f"client:predict+feedback:{one}, prometheus:metrics:{two},")
    assert keys == [
        Key("client", frozenset({"predict", "feedback"}), one),
        Key("prometheus", frozenset({"metrics"}), two),
    ]
    assert all(key.builtin for key in keys)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("", "expected name:scope"),
        (" , ", "expected name:scope"),
        ("hunter2", "entry 1 is not of the form name:scope+scope:sha256hex"),
        ("client=hunter2", "entry 1 is not of the form"),
        ("client:predict", "entry 1 is not of the form"),
        ("client:predict:hunter2", "entry 1 has no SHA-256 in hex"),
        ("client:hunter2:" + "0" * 64, "entry 1 has an unknown scope; the scopes are predict, feedback"),
        ("client::" + "0" * 64, "entry 1 is not of the form"),
        ("Hunter2:predict:" + "0" * 64, "entry 1 has a wrong name"),
        (f"a:predict:{'0' * 64},a:predict:{'1' * 64}", "entry 2 repeats a name or a hash"),
        (f"a:predict:{'0' * 64},b:predict:{'0' * 64}", "entry 2 repeats a name or a hash"),
        (f"a:predict:{'0' * 64}:5", "entry 1 has no SHA-256"),
    ],
)
def test_wrong_keys_in_the_settings_are_named_by_position_alone(raw: str, message: str) -> None:
    with pytest.raises(ValueError, match="e") as caught:
        parse_builtin_keys(raw)
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value).lower()
