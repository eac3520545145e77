from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from platform_cli.docker import images
from platform_cli.docker.images import Build, full_name, recipe, recipe_build, stack_images, with_bases
from platform_cli.errors import PlatformError
from platform_cli.home import REPO, Home
from platform_cli.stack import documents
from platform_cli.stack.settings import load_settings


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def write(services: dict) -> list[images.Image]:
        directory = tmp_path / "compose" / "web"
        directory.mkdir(parents=True)
        (directory / "compose.yml").write_text(yaml.safe_dump({"services": services}))
        (tmp_path / "docker-compose.yml").write_text("include: [compose/web/compose.yml]\n")
        monkeypatch.setattr(documents, "ROOT_FILE", tmp_path / "docker-compose.yml")
        return stack_images({"VERSION": "1.2"})

    return write


@pytest.fixture
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "images"
    monkeypatch.setattr(images, "RECIPES", directory)
    return directory


def write(file: Path, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_each_image_of_the_compose_files_stands_once_upstreams_first(stack) -> None:
    found = stack(
        {
            "web": {"image": "ours", "build": {"context": "../..", "dockerfile": "web/Dockerfile", "target": "web"}},
            "init": {"image": "ours", "build": {"context": "../..", "dockerfile": "web/Dockerfile"}},
            "cache": {"image": "cache:${VERSION}"},
        }
    )
    assert [image.name for image in found] == ["cache:1.2", "ours:latest"]
    assert found[0].build is None
    assert found[1].build is not None
    assert found[1].build.dockerfile == found[1].build.context / "web" / "Dockerfile"


def test_a_profile_keeps_an_image_out_unless_a_service_without_one_runs_it(stack) -> None:
    tool, both, optional, built = stack(
        {
            "a": {"image": "a-tool:1", "profiles": ["tools", "more"]},
            "b": {"image": "both:1", "profiles": ["tools"]},
            "c": {"image": "both:1"},
            "d": {"image": "ours:1", "build": {"context": ".", "dockerfile": "Dockerfile"}, "profiles": ["tools"]},
            "e": {"image": "more:1", "build": {"context": ".", "dockerfile": "Dockerfile"}, "profiles": ["more"]},
        }
    )
    assert not tool.wanted([])
    assert tool.wanted(["more"])
    assert both.wanted([])
    assert built.wanted([])
    assert not optional.wanted([])
    assert optional.wanted(["more"])


def test_a_service_without_the_name_of_its_image_is_an_error(stack) -> None:
    with pytest.raises(PlatformError, match="names no image") as told:
        stack({"web": {"build": {"context": ".", "dockerfile": "Dockerfile"}}})
    assert "services.web" in told.value.where


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("postgres", "postgres:latest"),
        ("docker.io/library/postgres:18", "postgres:18"),
        ("docker.io/prom/prometheus:v2", "prom/prometheus:v2"),
        ("localhost:5000/own/thing", "localhost:5000/own/thing:latest"),
        ("postgres:18@sha256:0abc", "postgres:18@sha256:0abc"),
    ],
)
def test_names_as_the_engine_lists_them(name: str, full: str) -> None:
    assert full_name(name) == full


def test_what_is_no_name_is_told() -> None:
    with pytest.raises(PlatformError, match="no name of an image"):
        full_name("postgres:18:19")


def test_the_images_that_a_dockerfile_begins_from(tmp_path: Path) -> None:
    file = write(
        tmp_path / "Dockerfile",
        "ARG PYTHON_IMAGE=python:3.11\nFROM ${PYTHON_IMAGE} AS base\nARG LATER=1\nFROM base AS more\n"
        "FROM scratch AS empty\nFROM debian\nCOPY --from=base / /\n",
    )
    assert Build(file).bases() == ["python:3.11", "debian:latest"]
    assert Build(file, arguments={"PYTHON_IMAGE": "own:1"}).bases() == ["own:1", "debian:latest"]


def test_an_image_is_made_of_its_dockerfile_and_what_it_copies(tmp_path: Path) -> None:
    file = write(
        tmp_path / "Dockerfile", "FROM x AS y\nCOPY app app\nCOPY --chown=1 web/*.py /web/\nCOPY --from=y other /\n"
    )
    for name in ("app/sub/a.txt", "web/b.py"):
        write(tmp_path / name, "one")
    build = Build(file, tmp_path)
    digests = [build.digest()]
    for name in ("other/c", "web/compose.yml", "app/__pycache__/a.pyc"):
        write(tmp_path / name, "is not copied")
        assert build.digest() == digests[0], name
    for name in ("app/sub/a.txt", "app/new", "web/b.py"):
        write(tmp_path / name, "two")
        digests.append(build.digest())
    (tmp_path / "app/new").chmod(0o755)
    digests.append(build.digest())
    digests += [replace(build, target="y").digest(), replace(build, arguments={"A": "1"}).digest()]
    write(file, file.read_text() + "USER 7\n")
    digests.append(build.digest())
    assert len(set(digests)) == len(digests)


def test_what_people_write_makes_no_image_older(home: Home) -> None:
    """It is mounted: a new project needs no new image."""
    for image in stack_images(load_settings(home)):
        if image.build is not None:
            copied = {file.relative_to(REPO).parts for file in image.build._copied()}
            assert not {parts[0] for parts in copied} & {"projects", "dags", "dbt_project", "airbyte", "docs", "tests"}
            assert not {parts[-1] for parts in copied} & {"compose.yml"}


def test_a_recipe_is_found_by_the_images_name(recipes: Path) -> None:
    dockerfile = write(recipes / "prom/thing/Dockerfile")
    script = write(recipes / "debian/rootfs.sh")
    assert recipe("docker.io/prom/thing:v1.2") == dockerfile
    assert recipe("library/debian:bookworm") == script
    assert recipe("prom/other:v1") is None
    # nothing that is made here has the digest of what was made elsewhere
    assert recipe("prom/thing:v1.2@sha256:0abc") is None


def test_a_recipe_is_told_the_version_of_the_tag(recipes: Path) -> None:
    file = write(recipes / "thing/Dockerfile")
    assert recipe_build("thing:v2.42.0-alpine", file).arguments == {"VERSION": "2.42.0", "MAJOR": "2"}
    assert recipe_build("thing:18-bookworm", file).arguments == {"VERSION": "18", "MAJOR": "18"}


def test_each_image_comes_after_what_it_is_made_from(recipes: Path) -> None:
    write(recipes / "base/rootfs.sh")
    write(recipes / "python/Dockerfile", "FROM base:1\n")
    write(recipes / "app/Dockerfile", "FROM python:3 AS make\nFROM base:1\n")
    assert with_bases(["app:1", "elsewhere:1", "base:1"]) == ["base:1", "python:3", "app:1", "elsewhere:1"]


def test_every_image_of_the_stack_is_ours_or_has_a_recipe_or_is_known_to_have_none(home: Home) -> None:
    """Not to be had as packages: what these programs' makers alone publish."""
    without = {
        image.name.partition(":")[0]
        for image in stack_images(load_settings(home))
        if image.build is None and recipe(image.name) is None
    }
    assert without <= {"ghcr.io/coder/coder", "grafana/grafana"}


def test_our_dockerfiles_take_their_base_as_an_argument(home: Home) -> None:
    for image in stack_images(load_settings(home)):
        if image.build is not None:
            (base,) = image.build.bases()
            assert base == ("caddy:2.11.7-alpine" if "gateway" in image.name else "python:3.11-slim-bookworm")
            argument = "CADDY_IMAGE" if "gateway" in image.name else "PYTHON_IMAGE"
            other = replace(image.build, arguments={argument: "registry.example/base:1"})
            assert other.bases() == ["registry.example/base:1"], image.build.dockerfile


def test_no_dockerfile_needs_what_an_engine_of_20_10_refuses() -> None:
    for file in [*REPO.glob("compose/*/Dockerfile"), *REPO.glob("images/**/Dockerfile")]:
        text = file.read_text()
        for refused in ("# syntax=", "<<", "--link"):
            assert refused not in text, f"{file}: {refused}"
