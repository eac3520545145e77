"""The docker runtime over an engine that answers by a script; the real one is in tests/docker."""

from __future__ import annotations

import getpass
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from contract import sources_digest
from platform_cli.docker import files
from platform_cli.docker import runtime as module
from platform_cli.docker.build import ORIGIN, SOURCES
from platform_cli.docker.engine import Engine
from platform_cli.docker.images import stack_images
from platform_cli.docker.runtime import DockerRuntime
from platform_cli.errors import PlatformError
from platform_cli.home import REPO, Home, project_name
from platform_cli.local.progress import Progress
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Runtime
from tests.platform_cli.docker.fake_docker import FakeDocker

YEAR_2242 = 2**33
LATER = "2999-01-01T00:00:00.123456789Z"
UNLESS_SAID: dict[str, Any] = {"RestartCount": 0, "Image": "sha256:x", "Mounts": []}


class Scene:
    """A stack whose containers are what the test says."""

    def __init__(self, docker: FakeDocker, home: Home) -> None:
        self.docker = docker
        self.containers = docker.directory / "containers"
        self.stack = load_stack(home, create_secrets=True, runtime=Runtime.DOCKER)
        self.compose = f"compose --project-name={project_name(home)}"
        self.said = io.StringIO()
        docker.answer("context inspect", "echo unix:///nowhere/docker.sock")
        self.have_images(*(image.name for image in stack_images(self.stack.settings)))
        self.command("up", "true")
        self.command("down", "true")
        docker.answer("ps --all", "echo id")
        docker.answer("inspect", f"cat {self.containers}")
        self.set({})
        self.runtime = DockerRuntime(self.stack, home, Engine.find())

    def have_images(self, *names: str, older: str = "") -> None:
        """The engine has these images, and no other; the one named `older` was built from another state."""
        blank = {"Id": "sha256:x", "RootFS": {}, "Size": 1, "Architecture": "amd64", "RepoDigests": []}
        labels = {ORIGIN: "checkout", SOURCES: "another"}
        found = [{**blank, "RepoTags": [name], "Config": {"Labels": labels if name == older else {}}} for name in names]
        self.docker.answer("image inspect", f"echo '{json.dumps(found)}'")

    def command(self, words: str, script: str) -> None:
        """Answer `docker compose … WORDS`."""
        self.docker.answer(f'{self.compose} "*" {words}', script)

    def set(self, different: dict[str, dict[str, Any]]) -> None:
        """Every service's state as it should be, but for these; those of `UNLESS_SAID` may be among their keys."""
        entries = []
        for service in self.stack.started:
            state: dict[str, Any] = {"Status": "running", "ExitCode": 0, "Health": {"Status": "healthy", "Log": []}}
            state |= {"Status": "exited", "Health": None} if service.one_shot else {}
            state |= {"StartedAt": LATER} | different.get(service.name, {})
            labels = {"com.docker.compose.service": service.name, "com.docker.compose.config-hash": "same"}
            image = stack_images(self.stack.settings)[0].name
            entry = {"Id": f"id-{service.name}", "Config": {"Labels": labels, "Image": image}, "State": state}
            entries.append(entry | {key: state.pop(key, value) for key, value in UNLESS_SAID.items()})
        self.containers.write_text(json.dumps(entries))
        self.defined("same")

    def defined(self, digest: str) -> None:
        """What the services would be made from now."""
        lines = "\\n".join(f"{service.name} {digest}" for service in self.stack.started)
        self.command("config", "echo 'services: {}'")
        self.command("--file=- config --hash", f"printf '{lines}\\n'")

    def up(self) -> Progress:
        progress = Progress(Console(file=self.said, width=150))
        self.runtime.up(progress)
        return progress


@pytest.fixture
def scene(docker: FakeDocker, home: Home, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    return Scene(docker, home)


def test_a_stack_that_is_as_it_should_be_is_left_alone(scene: Scene) -> None:
    assert scene.up().changed == 0
    assert not [call for call in scene.docker.calls if " up " in call], "jobs would be run again"
    assert {status.healthy for status in scene.runtime.status()} == {True}


@pytest.mark.parametrize("change", [{"Image": "sha256:older"}, {"StartedAt": "2001-01-01T00:00:00Z"}])
def test_what_was_made_of_something_else_is_made_anew(scene: Scene, change: dict[str, str]) -> None:
    scene.set({"gateway": change})
    scene.command("rm", "true")
    right = scene.docker.directory / "right"
    scene.containers.rename(right)
    text = right.read_text()
    scene.containers.write_text(text)
    right.write_text(text.replace("id-gateway", "id-new"))
    scene.command("up", f"mv {right} {scene.containers}")
    assert scene.up().changed == 1
    removed = [call for call in scene.docker.calls if " rm " in call]
    assert [call.split()[-1] for call in removed] == (["gateway"] if "StartedAt" in change else [])


@pytest.fixture
def made(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scene, Path]:
    """A scene, and its checkout, which holds nothing yet."""
    monkeypatch.setattr(files, "REPO", tmp_path / "checkout")
    return scene, tmp_path / "checkout"


@pytest.mark.parametrize(
    ("service", "changed", "mounted", "outdated"),
    [
        ("prometheus", "compose/prometheus/rules/new.yml", [], True),
        ("dbt-manifest", "dbt_project/models/new.sql", [], True),
        ("dbt-manifest", "dbt_project/target/run.json", [], False),
        ("gateway", "compose/ready.sh", ["compose/ready.sh"], True),
        ("airflow-scheduler", "projects/new/train.py", ["projects"], False),
    ],
)
def test_what_a_service_reads_of_the_checkout_when_it_starts_makes_it_outdated(
    made: tuple[Scene, Path], service: str, changed: str, mounted: list[str], outdated: bool
) -> None:
    scene, checkout = made
    file = checkout / changed
    file.parent.mkdir(parents=True)
    file.write_text("new")
    os.utime(file, (YEAR_2242, YEAR_2242))
    mounts = [{"Type": "bind", "Source": str(checkout / name)} for name in mounted]
    scene.set({service: {"StartedAt": "2200-01-01T00:00:00Z", "Mounts": mounts}})
    (container,) = (one for one in scene.runtime.compose.containers() if one.service == service)
    assert scene.runtime._is_outdated(container) is outdated


def test_a_changed_definition_is_brought_up(scene: Scene) -> None:
    scene.defined("another")
    scene.up()
    assert [call for call in scene.docker.calls if " up " in call]


def test_what_was_not_healthy_is_told_when_it_is(scene: Scene) -> None:
    scene.set({"mlflow": {"Health": {"Status": "starting", "Log": []}}})
    better = scene.docker.directory / "better"
    better.write_text(scene.containers.read_text().replace("starting", "healthy"))
    scene.command("up", f"mv {better} {scene.containers}")
    assert scene.up().changed == 1
    assert "mlflow" in scene.said.getvalue()
    assert "healthy" in scene.said.getvalue()


def test_a_job_that_runs_is_waited_for(scene: Scene) -> None:
    ended = scene.containers.rename(scene.docker.directory / "ended")
    scene.set({"postgres-init": {"Status": "running"}})
    scene.command("up", f"mv {ended} {scene.containers}")
    assert scene.up().changed == 1
    assert "postgres-init" in scene.said.getvalue()


def test_an_unhealthy_service_is_told_with_its_last_check_and_its_log(scene: Scene) -> None:
    log = [{"Output": "connection refused"}, {"Output": "wget: server returned error: HTTP/1.1 500\n"}]
    scene.set({"mlflow": {"Health": {"Status": "unhealthy", "Log": log}}})
    password = scene.stack.secrets["MLFLOW_ADMIN_PASSWORD"].reveal()
    scene.command("up", "echo 'container mlops-mlflow-1 is unhealthy' >&2; exit 1")
    scene.command("logs", f"echo 'cannot sign in with {password}'")
    with pytest.raises(PlatformError, match=r"mlflow did not become healthy .*HTTP/1.1 500") as told:
        scene.up()
    assert "platform logs mlflow" in told.value.do
    assert told.value.detail == "cannot sign in with ********"
    (status,) = [status for status in scene.runtime.status() if status.service == "mlflow"]
    assert (status.healthy, status.detail) == (False, "wget: server returned error: HTTP/1.1 500")


def test_a_job_that_failed_is_told_with_its_exit_code(scene: Scene) -> None:
    scene.set({"postgres-init": {"ExitCode": 3}})
    scene.command("logs", "echo 'no such role'")
    with pytest.raises(PlatformError, match="postgres-init ended with exit code 3") as told:
        scene.up()
    assert told.value.detail == "no such role"


@pytest.mark.parametrize("state", ["restarting", "running"])
def test_a_service_that_ends_again_and_again_is_told_with_its_exit_code(scene: Scene, state: str) -> None:
    health = {"Status": "starting", "Log": []}
    scene.set({"postgres": {"Status": state, "ExitCode": 1, "RestartCount": 3, "Health": health}})
    scene.command("logs", "echo 'the volume holds the data of PostgreSQL 17, and this is PostgreSQL 18'")
    with pytest.raises(PlatformError, match="postgres ended with exit code 1") as told:
        scene.up()
    assert "PostgreSQL 17" in told.value.detail


def test_an_image_that_cannot_be_built_is_told_with_the_end_of_its_log(scene: Scene) -> None:
    scene.have_images(
        *(image.name for image in stack_images(scene.stack.settings) if "mlops-serving" not in image.name)
    )
    scene.docker.answer("info", f"echo {scene.docker.directory}")
    scene.docker.answer("compose --project-name=mlops-images", "echo 'ERROR: no matching distribution'; exit 17")
    with pytest.raises(PlatformError, match=r"the image mlops-serving:.* could not be built") as told:
        scene.up()
    assert "no matching distribution" in told.value.detail
    assert not [call for call in scene.docker.calls if " up " in call], "nothing was started"


def test_an_image_that_is_older_than_the_checkout_is_built_again(scene: Scene) -> None:
    names = [image.name for image in stack_images(scene.stack.settings)]
    (serving,) = (name for name in names if name.startswith("mlops-serving:"))
    scene.have_images(*names, older=serving)
    built = scene.docker.directory / "built"
    scene.docker.answer("compose --project-name=mlops-images", f"cat >>{built}")
    scene.up()
    assert json.loads(built.read_text())["services"]["image"]["image"] == serving


def test_an_image_that_no_registry_gives_can_be_made_or_loaded(scene: Scene) -> None:
    scene.have_images(*(image.name for image in stack_images(scene.stack.settings) if "prom/prom" not in image.name))
    scene.docker.answer("pull", "echo 'dial tcp: lookup registry-1.docker.io: no such host'; exit 1")
    with pytest.raises(PlatformError, match=r"prom/prometheus:.* is not here, and no registry gives it") as told:
        scene.up()
    assert "platform images build --from-packages" in told.value.do
    assert "no such host" in told.value.detail
    assert not [call for call in scene.docker.calls if " up " in call], "nothing was started"


def test_down_takes_all_profiles_and_only_purge_the_volumes(scene: Scene) -> None:
    scene.runtime.down(Progress(Console(file=scene.said)))
    scene.runtime.purge()
    down, purge = [call for call in scene.docker.calls if " down " in call]
    assert "--profile=*" in down
    assert "--volumes" not in down
    assert purge.endswith("--volumes")


def test_a_step_sees_the_callers_directory(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD", raising=False)
    program = scene.runtime.step("pipelines.authoring", keep=["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"])
    assert program.command[-5:] == ("pipelines", "python", "-P", "-m", "pipelines.authoring")
    assert {f"--volume={tmp_path}:{tmp_path}", f"--workdir={tmp_path}", "--no-TTY"} <= set(program.command)
    given = [word for word in program.command if word.startswith("--env=")]
    assert given == [f"--env=LOGNAME={getpass.getuser()}", "--env=MLFLOW_TRACKING_USERNAME"]
    assert not [word for word in program.command if word.startswith("--user")]
    assert "--entrypoint=/platform/compose/with-secrets.sh" in program.command
    commit, digest = (scene.runtime.home.rendered / "checkout").read_text().split()
    assert (commit, digest) == (scene.stack.variables["CHECKOUT_COMMIT"], sources_digest(REPO))


def test_a_step_with_files_of_the_callers_is_the_caller(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for directory in (here, there):
        directory.mkdir()
    monkeypatch.chdir(here)
    named = [Path("out.parquet"), there / "in.csv", tmp_path / "nowhere" / "x.csv"]
    command = scene.runtime.step(files=named).command
    state = scene.runtime.home.root / "steps"
    assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (os.getuid(), 0o700)
    assert f"--user={os.getuid()}:{os.getgid()}" in command
    assert {f"--env=STEP_STATE_DIR={state}", f"--env=PLATFORM_REPO={REPO}", f"--workdir={here}"} <= set(command)
    shown = {word.removeprefix("--volume=") for word in command if word.startswith("--volume=")}
    assert shown == {f"{path}:{path}" for path in (here, there, REPO, state)}


def test_each_home_is_a_project_of_its_own(tmp_path: Path) -> None:
    assert project_name(Home(REPO / ".platform")) == "mlops"
    assert project_name(Home(tmp_path / "a")) != project_name(Home(tmp_path / "b"))
    assert os.fspath(tmp_path) not in project_name(Home(tmp_path / "a"))
