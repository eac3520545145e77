"""Artifacts are downloaded once, kept as long as they are used, and checked every time."""

import os
import threading
from pathlib import Path

import pytest

from contract import DIGEST_TAG
from serving.errors import VersionRefused
from serving.models.loader import Loader
from serving.models.model import ServedModel
from tests.serving.fakes import FakeRegistry, wait_for
from tests.serving.models.loading import artifacts, load, refusal


def test_an_artifact_is_downloaded_once_and_checked_every_time(
    loader: Loader, registry: FakeRegistry, model_dir: Path, tmp_path: Path
) -> None:
    model = load(loader, registry, model_dir)
    load(loader, registry, model_dir)
    assert registry.downloads == 1
    (tmp_path / "cache" / model.digest / "model.skops").write_bytes(b"tampered with")
    load(loader, registry, model_dir)
    assert registry.downloads == 2


def test_without_the_registry_only_the_cache_is_asked(
    loader: Loader, registry: FakeRegistry, model_dir: Path, tmp_path: Path
) -> None:
    version = registry.version("m", registry.add("m", model_dir))
    with pytest.raises(VersionRefused, match="not on this machine any more"):
        loader.restore(version, "champion")
    loader.load(version, "champion")
    registry.down = True
    assert loader.restore(version, "shadow").role == "shadow"
    (tmp_path / "cache" / version.tags[DIGEST_TAG] / "model.skops").write_bytes(b"tampered with")
    with pytest.raises(VersionRefused, match="not on this machine any more"):
        loader.restore(version, "champion")


def test_nothing_half_downloaded_stays(loader: Loader, registry: FakeRegistry, copy: Path, tmp_path: Path) -> None:
    refusal(loader, registry, copy, {DIGEST_TAG: "0" * 64})
    assert artifacts(tmp_path / "cache") == []
    (tmp_path / "cache" / ".incoming-of-a-killed-process").mkdir()
    Loader(registry, tmp_path / "cache")
    assert artifacts(tmp_path / "cache") == []


def test_what_another_process_downloads_is_waited_for_and_not_removed(
    loader: Loader, registry: FakeRegistry, model_dir: Path, tmp_path: Path
) -> None:
    registry.blocked["m"] = threading.Event()
    version = registry.version("m", registry.add("m", model_dir))
    found: list[ServedModel] = []
    others = [Loader(registry, tmp_path / "cache") for _ in range(3)]
    threads = [threading.Thread(target=lambda o=o: found.append(o.load(version, "champion"))) for o in others]
    for thread in threads:
        thread.start()
    wait_for(lambda: registry.downloads > 0)
    Loader(registry, tmp_path / "cache").prune(set())
    assert artifacts(tmp_path / "cache")[0].startswith(".incoming-")
    registry.blocked["m"].set()
    for thread in threads:
        thread.join(30)
    assert len(found) == 3
    assert registry.downloads == 1


def test_pruning_takes_what_was_long_not_used_and_is_not_to_be_kept(
    loader: Loader, registry: FakeRegistry, model_dir: Path, other_model_dir: Path, regressor_dir: Path
) -> None:
    kept, old, new = (load(loader, registry, path).digest for path in (model_dir, other_model_dir, regressor_dir))
    cache = loader.directory
    for digest in (kept, old):
        for path in (cache / digest, cache / f".lock-{digest}"):
            os.utime(path, (0, 0))
    loader.prune({kept})
    assert sorted(artifacts(cache)) == sorted([kept, new])
    assert not (cache / f".lock-{old}").exists()
    load(loader, registry, model_dir)
    assert (cache / kept).stat().st_mtime > 0, "being used counts"
