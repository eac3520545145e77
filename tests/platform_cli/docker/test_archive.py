from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections import namedtuple
from pathlib import Path

import pytest

from platform_cli.docker import archive, build
from platform_cli.docker.archive import load, read_index, save
from platform_cli.docker.build import Present, present
from platform_cli.docker.engine import DockerFailed, Engine
from platform_cli.errors import PlatformError
from tests.platform_cli.docker.fake_docker import FakeDocker


def inspected(layers: str = "sha256:a") -> str:
    root = {"Layers": [layers]}
    entry = {
        "Id": "1",
        "RepoTags": ["thing:1"],
        "RepoDigests": [],
        "Size": 5_000_000,
        "Architecture": "amd64",
        "RootFS": root,
    }
    return json.dumps([entry])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """What `docker save` writes."""
    file = tmp_path / "images.tar"
    with tarfile.open(file, "w") as tar:
        info = tarfile.TarInfo("manifest.json")
        info.size = 100_000
        tar.addfile(info, io.BytesIO(b"x" * info.size))
    return file


@pytest.fixture
def engine(docker: FakeDocker, images: Path, tmp_path: Path) -> Engine:
    docker.answer("save thing:1", f"cat {images}")
    docker.answer("image inspect", f"echo '{inspected()}'")
    docker.answer("version --format {{.Server.Arch}}", "echo amd64")
    docker.answer("info", f"echo {tmp_path}")
    docker.answer("context inspect", "echo unix:///run/docker.sock")
    docker.answer("load --quiet --input", "echo 'Loaded image: thing:1'")
    return Engine.find()


@pytest.fixture
def there(engine: Engine) -> dict[str, Present]:
    return present(engine, ["thing:1"])


def test_what_is_saved_says_what_it_holds_and_is_an_archive_that_docker_takes(
    engine: Engine, there: dict[str, Present], tmp_path: Path
) -> None:
    file = tmp_path / "set.tar.gz"
    assert save(engine, ["thing:1"], there, file) == file.stat().st_size
    (entry,) = read_index(file).images
    assert (entry.name, entry.size, entry.layers) == ("thing:1", 5_000_000, there["thing:1"].layers)
    with tarfile.open(file) as tar:
        assert tar.getnames() == ["platform-images.json", "manifest.json"]
        content = tar.extractfile("manifest.json")
        assert content is not None
        assert content.read() == b"x" * 100_000
    assert load(engine, file).images == (entry,)


def test_a_file_that_exists_is_not_overwritten(engine: Engine, there: dict[str, Present], tmp_path: Path) -> None:
    file = tmp_path / "set.tar.gz"
    file.write_text("precious")
    with pytest.raises(PlatformError, match="not overwritten"):
        save(engine, ["thing:1"], there, file)
    assert file.read_text() == "precious"


def test_a_directory_that_is_not_there(engine: Engine, there: dict[str, Present], tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no such directory"):
        save(engine, ["thing:1"], there, tmp_path / "none" / "set.tar.gz")


def test_a_disk_without_room_is_told_before(
    engine: Engine, there: dict[str, Present], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: usage(0, 0, 1 << 20))
    with pytest.raises(PlatformError, match="1 MB of disk are free, about 2 MB"):
        save(engine, ["thing:1"], there, tmp_path / "set.tar.gz")


def test_a_save_that_fails_leaves_nothing(
    docker: FakeDocker, engine: Engine, there: dict[str, Present], tmp_path: Path, images: Path
) -> None:
    docker.answer("save", f"cat {images}; echo 'write: no space left on device' >&2; exit 1")
    with pytest.raises(DockerFailed) as told:
        save(engine, ["thing:1"], there, tmp_path / "set.tar.gz")
    assert told.value.detail == "write: no space left on device"
    assert not list(tmp_path.glob("set.tar.gz*"))


def test_a_save_beside_another_is_refused(engine: Engine, there: dict[str, Present], tmp_path: Path) -> None:
    other = tmp_path / "set.tar.gz.part"
    other.write_text("half")
    with pytest.raises(PlatformError, match="somebody is writing"):
        save(engine, ["thing:1"], there, tmp_path / "set.tar.gz")
    assert other.read_text() == "half"


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"no tar"), gzip.compress(b"x" * 2000)[:40]])
def test_what_is_no_archive_is_refused(engine: Engine, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "set.tar.gz"
    file.write_bytes(content)
    with pytest.raises(PlatformError) as told:
        load(engine, file)
    assert told.value.where == str(file)


def test_an_archive_of_docker_save_alone_is_no_set(engine: Engine, images: Path, tmp_path: Path) -> None:
    file = tmp_path / "set.tar.gz"
    file.write_bytes(gzip.compress(images.read_bytes()))
    with pytest.raises(PlatformError, match="no archive that `platform images save`"):
        load(engine, file)


def test_no_file(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no such file"):
        load(engine, tmp_path / "none")


@pytest.fixture
def saved(engine: Engine, there: dict[str, Present], tmp_path: Path) -> Path:
    file = tmp_path / "set.tar.gz"
    save(engine, ["thing:1"], there, file)
    return file


def test_images_for_other_machines_are_refused(docker: FakeDocker, saved: Path) -> None:
    docker.answer("version --format {{.Server.Arch}}", "echo arm64")
    with pytest.raises(PlatformError, match="for amd64, and this engine's machine is arm64"):
        load(Engine.find(), saved)
    assert not any(call.startswith("load") for call in docker.calls)


def test_an_engine_without_room_is_not_begun_with(
    docker: FakeDocker, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(build.shutil, "disk_usage", lambda _: usage(0, 0, 1 << 20))
    with pytest.raises(PlatformError, match=r"1 MB of disk are free .* about 9 MB"):
        load(Engine.find(), saved)
    assert not any(call.startswith("load") for call in docker.calls)


def test_an_engine_that_does_not_take_the_file(docker: FakeDocker, saved: Path) -> None:
    docker.answer("load", "echo 'unexpected EOF' >&2; exit 1")
    with pytest.raises(PlatformError, match="does not take the file: unexpected EOF"):
        load(Engine.find(), saved)


@pytest.mark.parametrize("answer", [inspected("sha256:b"), "[]"])
def test_an_image_that_is_not_what_was_promised_is_told(docker: FakeDocker, saved: Path, answer: str) -> None:
    docker.answer("image inspect", f"echo '{answer}'")
    with pytest.raises(PlatformError, match="has not got what the file promises: thing:1"):
        load(Engine.find(), saved)
