from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from platform_cli.docker import images
from platform_cli.docker.build import ORIGIN, SOURCES
from platform_cli.docker.images import stack_images
from platform_cli.errors import PlatformError
from platform_cli.main import app
from platform_cli.stack import documents
from tests.platform_cli.docker.fake_docker import FakeDocker


@pytest.fixture(autouse=True)
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ours:1 is built, made:1 has a recipe, pulled:1 and extra:1 have none; extra:1 is behind a profile."""
    services = {
        "a": {"image": "ours:1", "build": {"context": ".", "dockerfile": "Dockerfile"}},
        "b": {"image": "made:1"},
        "c": {"image": "pulled:1"},
        "d": {"image": "extra:1", "profiles": ["more"]},
    }
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "compose.yml").write_text(yaml.safe_dump({"services": services}))
    (tmp_path / "web" / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "docker-compose.yml").write_text("include: [web/compose.yml]\n")
    (tmp_path / "images" / "made").mkdir(parents=True)
    (tmp_path / "images" / "made" / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setattr(documents, "ROOT_FILE", tmp_path / "docker-compose.yml")
    monkeypatch.setattr(images, "RECIPES", tmp_path / "images")
    monkeypatch.setenv("PLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COMPOSE_PROFILES", raising=False)


def have(docker: FakeDocker, **origins: str) -> None:
    """Let the engine have `NAME:1` of each origin; what is from the checkout is from this state of it."""
    (digest,) = (image.build.digest() for image in stack_images({}) if image.build)
    entries = [
        {
            "Id": name, "RepoTags": [f"{name}:1"], "RepoDigests": [], "Size": 2_000_000, "Architecture": "amd64",
            "RootFS": {"Layers": [name]}, "Config": {"Labels": {ORIGIN: origin, SOURCES: digest} if origin else None},
        }
        for name, origin in origins.items()
    ]  # fmt: skip
    docker.answer("image inspect", f"echo '{json.dumps(entries)}'")


def run(*words: str) -> str:
    done = CliRunner().invoke(app, ["images", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_the_list_tells_what_is_there_and_where_it_is_from(docker: FakeDocker) -> None:
    have(docker, ours="checkout", made="packages", pulled="")
    rows = {row["image"]: row for row in json.loads(run("list", "--json"))}
    assert {name: row["from"] for name, row in rows.items()} == {
        "ours:1": "this checkout", "made:1": "packages", "pulled:1": "upstream", "extra:1": "missing",
    }  # fmt: skip
    assert rows["extra:1"]["note"] == "only with the profile more"
    assert rows["ours:1"]["size"] == 2_000_000


def test_the_list_tells_how_to_get_what_is_missing(docker: FakeDocker) -> None:
    have(docker)
    rows = {row["image"]: row["note"] for row in json.loads(run("list", "--json"))}
    assert rows["ours:1"] == "platform images build"
    assert rows["made:1"].endswith("platform images build --from-packages")
    assert rows["pulled:1"] == "docker pull pulled:1 (it cannot be made from packages)"


def test_a_set_that_is_not_complete_is_not_saved(docker: FakeDocker, tmp_path: Path) -> None:
    have(docker, ours="checkout", pulled="")
    with pytest.raises(PlatformError, match="not complete") as told:
        run("save", str(tmp_path / "set.tar.gz"))
    assert "made:1" in told.value.what
    assert "extra:1" not in told.value.what
    assert not list(tmp_path.glob("set*"))


def test_a_set_that_is_older_than_the_checkout_is_not_saved(docker: FakeDocker, tmp_path: Path) -> None:
    have(docker, ours="checkout", made="packages", pulled="")
    (tmp_path / "web" / "Dockerfile").write_text("FROM scratch\nUSER 7\n")
    rows = {row["image"]: row["from"] for row in json.loads(run("list", "--json"))}
    assert rows["ours:1"] == "another state of this checkout"
    with pytest.raises(PlatformError, match="another state of this checkout") as told:
        run("save", str(tmp_path / "set.tar.gz"))
    assert "ours:1: platform images build" in told.value.what
    assert not list(tmp_path.glob("set*"))


def test_an_active_profile_belongs_to_the_set(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have(docker, ours="checkout", made="packages", pulled="")
    monkeypatch.setenv("COMPOSE_PROFILES", "other,more")
    with pytest.raises(PlatformError, match="extra:1"):
        run("save", str(tmp_path / "set.tar.gz"))


def test_a_build_names_what_cannot_be_made(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answer("info", f"echo {tmp_path}")
    docker.answer("context inspect", "echo tcp://elsewhere:1")
    docker.answer("compose --project-name=mlops-images", "cat >/dev/null; echo built")
    docker.answer("image inspect", "exit 1")
    # each image is there once it has been built
    for name in ("ours", "made"):
        entry = {"Id": name, "RepoTags": [f"{name}:1"], "RepoDigests": [], "Size": 1, "Architecture": "x", "RootFS": {}}
        docker.answer(f"image inspect {name}:1", f"echo '{json.dumps([entry])}'")
    docker.answer("image inspect made:1 ours:1 pulled:1", "exit 1")
    output = run("build", "--from-packages")
    assert "pulled:1" in output
    assert "not made" in output
    assert "extra:1" not in output
    assert "2 images are built" in output
