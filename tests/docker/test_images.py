"""`platform images` on a real engine."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from platform_cli.docker.archive import read_index
from platform_cli.docker.build import Builder, Step, plan, present
from platform_cli.docker.engine import DockerFailed, Engine
from platform_cli.docker.images import Build, Image
from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.local.progress import Progress
from platform_cli.main import app

Names = dict[str, str]


def platform(*words: str) -> str:
    done = CliRunner().invoke(app, ["images", *words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def listed() -> dict[str, str]:
    return {row["image"]: row["from"] for row in json.loads(platform("list", "--json"))}


def config(engine: Engine, name: str) -> dict:
    return json.loads(engine.run("image", "inspect", name).stdout)[0]["Config"]


def test_the_engine_is_what_it_says(engine: Engine) -> None:
    assert engine.version.split(".")[0].isdecimal()
    assert engine.architecture in ("amd64", "arm64")
    with pytest.raises(DockerFailed, match="no-such-command"):
        engine.run("no-such-command")


def test_an_engine_that_nobody_answers_for(engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(PlatformError, match="no container engine answers"):
        Engine.find()
    # bound, but nobody listens
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "none.sock"))
        with pytest.raises(PlatformError, match="no container engine answers"):
            Engine.find()


def test_a_set_is_built_saved_and_loaded(engine: Engine, names: Names, checkout: Path) -> None:
    assert set(listed().values()) == {"missing"}
    platform("build", "--from-packages")
    assert listed() == {names["made"]: "packages", names["ours"]: "this checkout"}
    assert "VERSION=1.2.3" in config(engine, names["made"])["Env"]
    before = present(engine, names.values())

    file = checkout / "set.tar.gz"
    platform("save", str(file))
    assert {entry.name for entry in read_index(file).images} == {names["made"], names["ours"]}
    engine.run("image", "rm", *names.values())
    assert set(listed().values()) == {"missing"}
    assert names["made"] in platform("load", str(file))
    after = present(engine, names.values())
    assert {name: after[name].layers for name in after} == {
        name: before[name].layers for name in (names["made"], names["ours"])
    }
    assert listed() == {names["made"]: "packages", names["ours"]: "this checkout"}


def test_what_was_built_is_not_built_again(engine: Engine, names: Names, checkout: Path) -> None:
    platform("build", "--from-packages")
    before = present(engine, names.values())
    platform("build", "--from-packages")
    assert present(engine, names.values()) == before
    (checkout / "web" / "data").write_text("changed")
    platform("build", "--from-packages")
    changed = present(engine, names.values())
    assert [name for name in names.values() if changed[name] != before[name]] == [names["ours"]]
    assert engine.run("image", "inspect", before[names["ours"]].id, check=False).returncode != 0


def test_a_file_that_was_cut_short_is_refused_and_loads_nothing(engine: Engine, names: Names, checkout: Path) -> None:
    platform("build", "--from-packages")
    file = checkout / "set.tar.gz"
    platform("save", str(file))
    engine.run("image", "rm", *names.values())
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(PlatformError, match="does not take the file"):
        platform("load", str(file))
    assert set(listed().values()) == {"missing"}


def test_a_build_that_fails_says_why(engine: Engine, names: Names, checkout: Path) -> None:
    dockerfile = checkout / "web" / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "COPY not-there /\n")
    with pytest.raises(PlatformError, match=rf"the image {names['ours']} could not be built") as told:
        platform("build", "--from-packages")
    assert "not-there" in told.value.detail
    assert listed() == {names["made"]: "packages", names["ours"]: "missing"}


def test_a_base_that_no_registry_gives_leads_to_the_packages(engine: Engine, names: Names, checkout: Path) -> None:
    dockerfile = checkout / "web" / "Dockerfile"
    # a registry that nobody serves
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    dockerfile.write_text(f"FROM 127.0.0.1:{port}/none:1\n")
    with pytest.raises(PlatformError) as told:
        platform("build")
    assert "--from-packages" in told.value.do


# the words are patterns here, so that the instruction itself, which an image keeps, does not hold them
LENDS = """\
RUN --mount=type=secret,id=certificates,target=/tmp/certificates \\
    --mount=type=secret,id=pip,target=/etc/pip.conf \\
    --mount=type=secret,id=uv,target=/etc/uv/uv.toml \\
    grep -q CERTIFICATE-OF-THIS-[M]ACHINE /tmp/certificates \\
    && grep -q word-of-this-[m]achine /etc/pip.conf \\
    && grep -q word-of-this-[m]achine /etc/uv/uv.toml \\
    && echo "$HTTPS_PROXY" | grep -q proxy-of-this-[m]achine
"""


def test_what_a_build_is_lent_is_in_no_layer(
    engine: Engine, names: Names, home: Home, debian: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Progress(Console(quiet=True)) as progress:
        below = plan([Image(debian, None, frozenset())], present(engine, [debian]), from_packages=True, fresh=False)
        Builder(engine, home, progress).run(below.steps)
        certificates = home.root / "own.crt"
        certificates.write_text("CERTIFICATE-OF-THIS-MACHINE")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
        monkeypatch.setenv("PIP_INDEX_URL", "https://me:word-of-this-machine@index.example/simple")
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy-of-this-machine:1")
        (home.root / "Dockerfile").write_text(f"FROM {debian}\n{LENDS}")
        build = Build(home.root / "Dockerfile", home.root)
        Builder(engine, home, progress).run([Step(names["ours"], build, "checkout")])
    with engine.reading("save", names["ours"]) as archive:
        text = archive.read()
    for word in ("CERTIFICATE-OF-THIS-MACHINE", "word-of-this-machine", "proxy-of-this-machine"):
        assert word.encode() not in text, word
