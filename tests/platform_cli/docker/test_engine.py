from __future__ import annotations

import grp
import os
import time
from pathlib import Path

import pytest

from platform_cli.docker.engine import DockerFailed, Engine, NoEngine
from platform_cli.errors import PlatformError
from tests.platform_cli.docker.fake_docker import FakeDocker


def test_an_engine_that_answers_is_found(docker: FakeDocker) -> None:
    engine = Engine.find()
    assert engine.docker == str(docker.directory / "docker")
    assert (engine.version, engine.compose_version) == ("20.10.24+dfsg1", "2.40.3")


def test_no_docker_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoEngine, match="no container engine") as told:
        Engine.find()
    assert "apt-get install docker.io" in told.value.do


def test_an_engine_that_does_not_run(docker: FakeDocker) -> None:
    docker.answer("version", "echo 'Cannot connect to the Docker daemon at unix:///nowhere.' >&2; exit 1")
    with pytest.raises(NoEngine, match=r"Cannot connect .*/nowhere") as told:
        Engine.find()
    assert "systemctl start docker" in told.value.do


def test_no_permission_names_the_sockets_group(docker: FakeDocker, tmp_path: Path) -> None:
    socket = tmp_path / "docker.sock"
    socket.touch()
    others = next(group for group in grp.getgrall() if group.gr_name != "root")
    if os.geteuid() == 0:
        os.chown(socket, -1, others.gr_gid)
    group = grp.getgrgid(socket.stat().st_gid).gr_name
    docker.answer("version", "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1")
    docker.answer("context inspect", f"echo unix://{socket}")
    with pytest.raises(PlatformError, match="no permission") as told:
        Engine.find()
    assert not isinstance(told.value, NoEngine)
    assert told.value.where == str(socket)
    assert f"usermod -aG {group} " in told.value.do


@pytest.mark.parametrize("version", ["19.03.15", "1.13.1", "20.9"])
def test_an_engine_that_is_too_old(docker: FakeDocker, version: str) -> None:
    docker.answer("version", f"echo {version}")
    with pytest.raises(PlatformError, match=f"too old: {version}"):
        Engine.find()


def test_a_missing_compose(docker: FakeDocker) -> None:
    docker.answer("compose version", "echo \"docker: 'compose' is not a docker command.\" >&2; exit 1")
    with pytest.raises(PlatformError, match="`docker compose` is not") as told:
        Engine.find()
    assert "docker-compose-plugin" in told.value.do


@pytest.mark.parametrize(("version", "enough"), [("2.23.0", False), ("2.23.1-desktop.1", True), ("v5.0.0", True)])
def test_the_age_of_compose(docker: FakeDocker, version: str, enough: bool) -> None:
    docker.answer("compose version", f"echo {version}")
    if enough:
        Engine.find()
    else:
        with pytest.raises(PlatformError, match=f"too old: {version}"):
            Engine.find()


def test_a_call_gets_its_input_and_variables(docker: FakeDocker) -> None:
    docker.answer("load", 'printf "%s %s" "$COLOUR" "$(cat)"')
    assert Engine.find().run("load", input="text", env={"COLOUR": "red"}).stdout == "red text"
    assert docker.calls[-1] == "load"


def test_a_call_without_input_does_not_read_the_callers(docker: FakeDocker) -> None:
    docker.answer("load", "cat")
    assert Engine.find().run("load", timeout=5).stdout == ""


def test_a_failed_call_says_how_it_ended(docker: FakeDocker) -> None:
    docker.answer("pull", "echo no such image >&2; exit 3")
    engine = Engine.find()
    with pytest.raises(DockerFailed, match=r"`docker pull x` failed \(exit code 3\)") as told:
        engine.run("pull", "x")
    assert told.value.detail == "no such image"
    assert engine.run("pull", "x", check=False).returncode == 3


def test_a_call_that_hangs_is_ended(docker: FakeDocker) -> None:
    docker.answer("info", "exec sleep 60")
    engine = Engine.find()
    began = time.monotonic()
    with pytest.raises(DockerFailed) as told:
        engine.run("info", timeout=0.2)
    assert "no answer within" in told.value.detail
    assert time.monotonic() - began < 10


def test_a_stream_gives_both_outputs_and_then_the_failure(docker: FakeDocker) -> None:
    docker.answer("compose -f -", "cat; echo two >&2; exit 1")
    lines = []
    with pytest.raises(DockerFailed) as told:
        for line in Engine.find().stream("compose", "-f", "-", "build", "x", input="one\n"):
            lines.append(line)
    assert lines == ["one", "two"]
    assert told.value.detail == "one\ntwo"
    assert str(told.value).startswith("`docker compose -f - build …` failed")


def test_a_program_that_does_not_read_its_input_fails_with_its_own_words(docker: FakeDocker) -> None:
    docker.answer("load", "exec <&-; echo broken; exit 1")
    with pytest.raises(DockerFailed) as told:
        list(Engine.find().stream("load", input="x" * 1_000_000))
    assert told.value.detail == "broken"


def test_a_stream_that_nobody_reads_any_more_ends_its_program(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answer("events", f"echo $$ >{tmp_path}/pid; echo begun; exec sleep 60")
    stream = Engine.find().stream("events")
    assert next(stream) == "begun"
    stream.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
