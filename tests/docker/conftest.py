from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock
from uuid import uuid4

import pytest
import yaml

from platform_cli.docker import images
from platform_cli.docker.build import present
from platform_cli.docker.engine import Engine
from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.stack import documents
from tools.scratch import Stack, new_docker_stack

DEBIAN = "debian:bookworm-slim"
BUILD_SECONDS, DEMO_SECONDS = 2400.0, 1200.0


@pytest.fixture(scope="session")
def engine() -> Engine:
    try:
        return Engine.find()
    except PlatformError as error:
        pytest.skip(f"needs a container engine (tools/docker.sh): {error}")


@pytest.fixture(scope="session")
def stack(engine: Engine) -> Iterator[Stack]:
    """The stack of this checkout in the engine, which is up; its images were made from packages where they are not."""
    made = new_docker_stack()
    try:
        with mock.patch.dict(os.environ, {"COMPOSE_PROFILES": "workspace"}):  # beside the others it takes less time
            made.platform("images", "build", "--from-packages", check=True, timeout=BUILD_SECONDS)
        made.platform("up", check=True)
        yield made
    finally:
        made.platform("down", "--purge", "--yes", check=True)


@pytest.fixture(scope="session")
def demo(stack: Stack) -> str:
    """What the sample's loop printed."""
    return stack.platform("demo", check=True, timeout=DEMO_SECONDS).stdout


@pytest.fixture
def names(engine: Engine) -> Iterator[dict[str, str]]:
    """Names of images that only this test has: `base`, `made` from packages, and `ours`."""
    mark = uuid4().hex[:8]
    found = {kind: f"mlops-test/{mark}-{kind}:1.2.3" for kind in ("base", "made", "ours")}
    yield found
    engine.run("image", "rm", "--force", *found.values(), check=False)


@pytest.fixture
def checkout(names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose stack runs `made` and `ours`; both begin from `base`, which a script makes."""
    recipes = tmp_path / "images"
    base, made = (recipes / names[kind].partition(":")[0] for kind in ("base", "made"))
    for directory in (base, made, tmp_path / "web"):
        directory.mkdir(parents=True)
    (tmp_path / "web" / "data").write_text("data")
    script = base / "rootfs.sh"
    script.write_text('#!/bin/sh\nset -eu\ncd "$(dirname "$0")"\necho "of $1" >tag\ntar -cf "$2" tag\n')
    script.chmod(0o755)
    (made / "Dockerfile").write_text(f'FROM {names["base"]}\nARG VERSION\nENV VERSION=${{VERSION}}\nCMD ["x"]\n')
    (tmp_path / "web" / "Dockerfile").write_text(
        f"ARG PYTHON_IMAGE={names['base']}\nFROM ${{PYTHON_IMAGE}}\nCOPY data /data\n"
    )
    services = {
        "made": {"image": names["made"]},
        "ours": {"image": names["ours"], "build": {"context": ".", "dockerfile": "Dockerfile"}},
    }
    (tmp_path / "web" / "compose.yml").write_text(yaml.safe_dump({"services": services}))
    (tmp_path / "docker-compose.yml").write_text("include: [web/compose.yml]\n")
    monkeypatch.setattr(documents, "ROOT_FILE", tmp_path / "docker-compose.yml")
    monkeypatch.setattr(images, "RECIPES", recipes)
    monkeypatch.setenv("PLATFORM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("COMPOSE_PROFILES", raising=False)
    return tmp_path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    return made


@pytest.fixture
def debian(engine: Engine) -> str:
    """Debian's image, which stays for the next time: making it takes half a minute."""
    if DEBIAN not in present(engine, [DEBIAN]) and shutil.which("mmdebstrap") is None:
        pytest.skip("needs mmdebstrap (tools/docker.sh)")
    return DEBIAN
