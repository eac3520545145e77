"""The images that the stack runs, as the compose files name them, and the recipes that make upstream's from packages.

A recipe is `images/<repository>/Dockerfile`, or `rootfs.sh` for an image that is made from no other. It is built under
upstream's name and tag; it gets the tag's version as the argument VERSION, and fails if the packages have another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platform_cli.errors import PlatformError
from platform_cli.home import REPO
from platform_cli.stack.documents import compose_documents, platform_version
from platform_cli.stack.interpolate import interpolate
from platform_cli.stack.secrets import reveal

RECIPES = REPO / "images"
TOOLS = "tools"
_NAME = re.compile(r"(?P<repository>([^/@:]+(:\d+)?/)?[^@:]+)(:(?P<tag>[\w][\w.-]*))?(@(?P<digest>\w+:[0-9a-f]+))?")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


@dataclass(frozen=True)
class Build:
    """How an image is built."""

    dockerfile: Path
    context: Path = REPO
    target: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)

    def bases(self) -> list[str]:
        """The images that the Dockerfile begins from, in its order."""
        values: dict[str, str] = {}
        stages: set[str] = set()
        found: dict[str, None] = {}
        for line in self.dockerfile.read_text().splitlines():
            words = line.split()
            if words[:1] == ["ARG"] and not found:
                name, _, default = words[1].partition("=")
                values[name] = self.arguments.get(name, default)
            if words[:1] == ["FROM"]:
                image = _VARIABLE.sub(lambda match: values.get(match[1], ""), words[1])
                if image not in stages and image != "scratch":
                    found[full_name(image)] = None
                stages |= set(words[3:4])
        return list(found)

    def digest(self) -> str:
        """What of this checkout the image is made of: the Dockerfile, the files that it copies, and how it is built.
        An image with the same digest is not older than the checkout, wherever it was built."""
        digest = hashlib.sha256(repr((self.target, sorted(self.arguments.items()))).encode())
        digest.update(self.dockerfile.read_bytes())
        for file in sorted(set(self._copied())):
            name, executable = file.relative_to(self.context).as_posix(), file.stat().st_mode & 0o100
            digest.update(f"{name}\0{executable}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()[:16]

    def _copied(self) -> Iterator[Path]:
        """The files that the Dockerfile takes from its context; bytecode is left out, as .dockerignore does."""
        for line in self.dockerfile.read_text().splitlines():
            command, *words = line.split() or [""]
            if command != "COPY" or any(word.startswith("--from=") for word in words):
                continue
            for pattern in (word.strip("/") for word in words[:-1] if not word.startswith("--")):
                for found in [self.context] if pattern == "." else self.context.glob(pattern):
                    files = found.rglob("*") if found.is_dir() else [found]
                    yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


@dataclass(frozen=True)
class Image:
    """An image that services run. `build` is how ours are built, and None for upstream's."""

    name: str
    build: Build | None
    profiles: frozenset[str]
    """Those of its services; empty if one of them has none."""

    def wanted(self, profiles: Collection[str]) -> bool:
        """Whether a stack with these profiles has use for it. What is run by hand of ours (`tools`) always counts."""
        asked = {*profiles, TOOLS} if self.build is not None else set(profiles)
        return not self.profiles or bool(self.profiles & asked)


def stack_images(settings: Mapping[str, str]) -> list[Image]:
    """Every image that the compose files name, once, upstream's first.

    Raises:
        PlatformError: a compose file is wrong.
    """
    variables = {**settings, "PLATFORM_VERSION": platform_version()}
    found: dict[str, Image] = {}
    for file, document in compose_documents().items():
        for name, service in document.get("services", {}).items():
            where = f"{file}, services.{name}"
            image = _image(service, file.parent, variables, where)
            known = found.get(image.name, image)
            always = not (image.profiles and known.profiles)
            profiles = frozenset() if always else image.profiles | known.profiles
            found[image.name] = Image(image.name, image.build or known.build, profiles)
    return sorted(found.values(), key=lambda image: (image.build is not None, image.name))


def recipe(name: str) -> Path | None:
    """The file that makes this upstream image from packages, or None: there is none, or the image is asked for by its
    digest, which nothing else has."""
    parts = _parts(name)
    if parts["digest"]:
        return None
    files = (RECIPES / parts["repository"] / file for file in ("Dockerfile", "rootfs.sh"))
    return next((file for file in files if file.is_file()), None)


def recipe_build(name: str, file: Path) -> Build:
    """The build that a recipe's Dockerfile stands for."""
    number = re.search(r"\d+(\.\d+)*", tag_of(name))
    version = number[0] if number else ""
    return Build(file, arguments={"VERSION": version, "MAJOR": version.split(".")[0]})


def with_bases(names: Iterable[str]) -> list[str]:
    """Upstream images with those that their recipes begin from, each after what it needs."""
    ordered: dict[str, None] = {}

    def add(name: str) -> None:
        file = recipe(name)
        if file is not None and file.name == "Dockerfile":
            for base in recipe_build(name, file).bases():
                add(base)
        ordered[name] = None

    for name in names:
        add(full_name(name))
    return list(ordered)


def full_name(name: str) -> str:
    """The name as the engine lists it: with its tag, and without what Docker Hub's images may leave out."""
    parts = _parts(name)
    digest = f"@{parts['digest']}" if parts["digest"] else ""
    tag = f":{parts['tag']}" if parts["tag"] else "" if digest else ":latest"
    return f"{parts['repository']}{tag}{digest}"


def tag_of(name: str) -> str:
    """The tag of an image's name."""
    return _parts(name)["tag"] or "latest"


def _parts(name: str) -> dict[str, str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise PlatformError(f"{name!r} is no name of an image", do="write it as REPOSITORY:TAG")
    parts = {key: value or "" for key, value in match.groupdict().items()}
    parts["repository"] = parts["repository"].removeprefix("docker.io/").removeprefix("library/")
    return parts


def _image(service: Mapping[str, Any], directory: Path, variables: Mapping[str, str], where: str) -> Image:
    if "image" not in service:
        raise PlatformError("the service names no image", where=where, do="add `image`, also where there is a `build`")
    name = full_name(reveal(interpolate(service["image"], variables, where=where)))
    build = service.get("build")
    if build is None:
        return Image(name, None, frozenset(service.get("profiles", [])))
    context = (directory / build["context"]).resolve()
    made = Build(context / build["dockerfile"], context, build.get("target", ""), build.get("args", {}))
    return Image(name, made, frozenset(service.get("profiles", [])))
