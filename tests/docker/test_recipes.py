"""What the recipes of images/ make behaves as upstream's images do, where the stack relies on it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console

from platform_cli.docker.build import Builder, plan, present
from platform_cli.docker.engine import Engine
from platform_cli.docker.images import Image, recipe, recipe_build, stack_images, with_bases
from platform_cli.home import REPO, Home
from platform_cli.local.progress import Progress
from platform_cli.stack.settings import load_settings

HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
VERSIONS = {
    "prom/prometheus": ("--version",),
    "prom/alertmanager": ("--version",),
    "prom/pushgateway": ("--version",),
    "prom/node-exporter": ("--version",),
    "quay.io/prometheuscommunity/postgres-exporter": ("--version",),
    "haproxy": ("haproxy", "-v"),
    "caddy": ("caddy", "version"),
    "postgres": ("postgres", "--version"),
    "python": ("python", "--version"),
    "debian": ("cat", "/etc/debian_version"),
}
"""Recipes, and what asks their image for its version."""
OWN_USER = {"prom/prometheus", "prom/alertmanager", "prom/pushgateway", "prom/node-exporter", "haproxy",
            "quay.io/prometheuscommunity/postgres-exporter"}  # fmt: skip
"""Those that upstream runs as a user of their own by themselves."""
CAPABILITY = {"caddy": "--cap-add=NET_BIND_SERVICE"}
"""Upstream's program carries this one, and cannot be started where it may not be had."""


@pytest.fixture(scope="module")
def images(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Repository → image, of every recipe; those that are there are not made again."""
    home = Home(tmp_path_factory.mktemp("images") / "home")
    home.make()
    asked = [image for image in stack_images(load_settings(home)) if image.build is None and recipe(image.name)]
    names = with_bases(["python:3.11-slim-bookworm", *(image.name for image in asked)])
    wanted = [Image(name, None, frozenset()) for name in names]
    planned = plan(wanted, present(engine, names), from_packages=True, fresh=False)
    with Progress(Console(quiet=True)) as progress:
        Builder(engine, home, progress).run(planned.steps)
    return {name.rpartition(":")[0]: name for name in names}


def test_every_recipe_is_tried() -> None:
    recipes = {str(file.parent.relative_to(REPO / "images")) for file in (REPO / "images").glob("**/Dockerfile")}
    assert recipes | {"debian"} == set(VERSIONS)


def test_each_image_has_the_version_of_its_tag_and_runs_hardened(engine: Engine, images: dict[str, str]) -> None:
    for repository, name in images.items():
        allowed = CAPABILITY.get(repository, "--cap-drop=ALL")
        done = engine.run("run", "--rm", *HARDENED, allowed, "--user=12345", name, *VERSIONS[repository])
        file = recipe(name)
        assert file is not None
        if file.name == "Dockerfile":
            assert recipe_build(name, file).arguments["VERSION"] in done.stdout + done.stderr, name
        user = json.loads(engine.run("image", "inspect", name).stdout)[0]["Config"]["User"]
        assert (user not in ("", "0", "root")) == (repository in OWN_USER), name


@pytest.fixture
def container(engine: Engine) -> Iterator[str]:
    name = f"mlops-test-{uuid4().hex[:8]}"
    yield name
    engine.run("rm", "--force", "--volumes", name, check=False)


def wait_for(engine: Engine, container: str, *words: str) -> str:
    """The output of a command inside, once it succeeds; tried for 30 seconds."""
    for _ in range(150):
        done = engine.run("exec", container, *words, check=False)
        if done.returncode == 0:
            return done.stdout
        time.sleep(0.2)
    log = engine.run("logs", container, check=False)
    raise AssertionError(done.stderr + log.stdout + log.stderr)


QUERY = ("psql", "-h", "127.0.0.1", "-U", "postgres", "-d", "app", "-tAc", "SELECT a FROM t")


def test_postgres_is_set_up_once_by_the_contract_of_upstreams_image(
    engine: Engine, images: dict[str, str], container: str, tmp_path: Path
) -> None:
    insert = 'psql -h /var/run/postgresql -U postgres -d "$POSTGRES_DB" -c "INSERT INTO t VALUES (7)"\n'
    files = {
        "password": "a 'pass' \"word\"\n",
        "init/1.sql": "CREATE TABLE t (a int);",
        "init/2.sh": insert,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    engine.run(
        "run", "--detach", f"--name={container}", *HARDENED, "--user=postgres",
        "--tmpfs=/tmp", "--tmpfs=/var/run/postgresql:uid=999,gid=999",
        "--env=POSTGRES_PASSWORD_FILE=/run/secrets/password", "--env=POSTGRES_DB=app",
        "--env=POSTGRES_INITDB_ARGS=--auth=scram-sha-256 --encoding=UTF8 --locale='C.UTF-8'",
        f"--volume={tmp_path}/password:/run/secrets/password:ro",
        f"--volume={tmp_path}/init:/docker-entrypoint-initdb.d:ro",
        images["postgres"], "postgres", "-cmax_connections=33",
    )  # fmt: skip
    password = files["password"].rstrip("\n")
    assert wait_for(engine, container, "env", f"PGPASSWORD={password}", *QUERY) == "7\n"
    assert engine.run("exec", container, "env", "PGPASSWORD=x", *QUERY, check=False).returncode != 0
    shown = wait_for(
        engine,
        container,
        "env",
        f"PGPASSWORD={password}",
        *QUERY[:-1],
        "SHOW max_connections",
        "-c",
        "SHOW data_directory",
    )
    assert shown == "33\n/var/lib/postgresql/18/docker\n"
    engine.run("restart", container)
    assert wait_for(engine, container, "env", f"PGPASSWORD={password}", *QUERY) == "7\n"


def test_postgres_does_not_start_without_a_password(engine: Engine, images: dict[str, str]) -> None:
    done = engine.run("run", "--rm", images["postgres"], check=False)
    assert done.returncode == 1
    assert "POSTGRES_PASSWORD is empty" in done.stderr


def test_what_the_health_checks_call_is_there(engine: Engine, images: dict[str, str]) -> None:
    for repository in OWN_USER:
        engine.run("run", "--rm", "--entrypoint=wget", images[repository], "--help")
