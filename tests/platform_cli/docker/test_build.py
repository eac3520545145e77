from __future__ import annotations

import json
from collections import namedtuple
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from platform_cli.docker import build as module
from platform_cli.docker import images
from platform_cli.docker.build import (
    ORIGIN,
    RECIPE,
    SOURCES,
    Builder,
    Plan,
    Present,
    Step,
    advice,
    build_model,
    check_disk,
    plan,
    present,
)
from platform_cli.docker.engine import Engine
from platform_cli.docker.images import Build, Image
from platform_cli.docker.lent import Lent
from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.local.progress import Progress
from tests.platform_cli.docker.fake_docker import FakeDocker

PULLED = Present("id", "layers", 1, "amd64", {})
MADE = Present("id", "layers", 1, "amd64", {ORIGIN: "packages"})
NEVER = frozenset[str]()


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Image]:
    """Ours, built from python:3; upstream's, one with a recipe and one without; base:1 is below all."""
    recipes = tmp_path / "images"
    for name, text in (("base/rootfs.sh", "#!/bin/sh\n"), ("python/Dockerfile", "FROM base:1\n"),
                       ("thing/Dockerfile", "FROM base:1\n")):  # fmt: skip
        (recipes / name).parent.mkdir(parents=True)
        (recipes / name).write_text(text)
    monkeypatch.setattr(images, "RECIPES", recipes)
    (tmp_path / "Dockerfile").write_text("ARG PYTHON_IMAGE=python:3\nFROM ${PYTHON_IMAGE}\n")
    ours = Image("ours:1", Build(tmp_path / "Dockerfile"), NEVER)
    return [Image("other:1", None, NEVER), Image("thing:1", None, NEVER), ours]


@pytest.fixture
def progress() -> Progress:
    return Progress(Console(file=StringIO()))


def names(made: Plan) -> list[str]:
    return [step.name for step in made.steps]


def test_without_more_ado_only_ours_are_built(stack: list[Image]) -> None:
    made = plan(stack, {}, from_packages=False, fresh=False)
    assert (names(made), made.unmakeable) == (["ours:1"], ())


def test_from_packages_everything_is_made_after_what_it_begins_from(stack: list[Image]) -> None:
    made = plan(stack, {}, from_packages=True, fresh=False)
    assert names(made) == ["base:1", "python:3", "thing:1", "ours:1"]
    assert [step.origin for step in made.steps] == ["packages"] * 3 + ["checkout"]
    assert made.unmakeable == ("other:1",)


def test_what_was_pulled_is_left_alone(stack: list[Image]) -> None:
    there = {"python:3": PULLED, "thing:1": PULLED, "other:1": PULLED}
    made = plan(stack, there, from_packages=True, fresh=True)
    assert (names(made), made.unmakeable) == (["base:1", "ours:1"], ())


def test_a_file_system_is_made_again_only_if_its_recipe_changed_or_on_demand(stack: list[Image]) -> None:
    (script,) = (step.rootfs for step in plan(stack, {}, from_packages=True, fresh=False).steps if step.build is None)
    there = {"base:1": Present("id", "layers", 1, "amd64", {ORIGIN: "packages", RECIPE: module._digest(script)})}
    assert "base:1" not in names(plan(stack, there, from_packages=True, fresh=False))
    assert "base:1" in names(plan(stack, there, from_packages=True, fresh=True))
    script.write_text("#!/bin/sh\necho changed\n")
    assert "base:1" in names(plan(stack, there, from_packages=True, fresh=False))
    assert "thing:1" in names(plan(stack, {"thing:1": MADE}, from_packages=True, fresh=False))


def test_the_model_of_a_build(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    step = Step("ours:1", Build(tmp_path / "Dockerfile", tmp_path, "web", {"VERSION": "1"}), "checkout")
    assert step.build is not None
    loan = Lent({"certificates": Path("/etc/own.crt")}, {"HTTPS_PROXY": "http://p"})
    assert build_model(step, step.build, loan) == {
        "services": {
            "image": {
                "image": "ours:1",
                "build": {
                    "context": str(tmp_path),
                    "dockerfile": str(tmp_path / "Dockerfile"),
                    "target": "web",
                    "args": {"HTTPS_PROXY": "http://p", "VERSION": "1"},
                    "labels": {ORIGIN: "checkout", SOURCES: step.build.digest()},
                    "secrets": ["certificates"],
                },
            }
        },
        "secrets": {"certificates": {"file": "/etc/own.crt"}},
    }


@pytest.mark.parametrize(("origin", "older"), [("checkout", True), ("packages", False), ("", False)])
def test_only_what_the_platform_built_of_another_state_is_older(tmp_path: Path, origin: str, older: bool) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    build = Build(tmp_path / "Dockerfile", tmp_path)
    labels = {ORIGIN: origin} if origin else {}
    assert Present("id", "layers", 1, "amd64", labels).is_older_than(build) is older
    assert not Present("id", "layers", 1, "amd64", labels | {SOURCES: build.digest()}).is_older_than(build)


def test_images_that_the_engine_has(docker: FakeDocker) -> None:
    entry = {
        "Id": "sha256:1",
        "RepoTags": ["thing:1", "ours:latest"], "RepoDigests": None, "Size": 7, "Architecture": "amd64",
        "RootFS": {"Layers": ["sha256:a"]}, "Config": {"Labels": {ORIGIN: "packages"}},
    }  # fmt: skip
    docker.answer("image inspect", f"echo '{json.dumps([entry])}'; echo 'No such image: x' >&2; exit 1")
    found = present(Engine.find(), ["docker.io/library/thing:1", "ours", "x"])
    assert set(found) == {"docker.io/library/thing:1", "ours"}
    assert (found["ours"].origin, found["ours"].size) == ("packages", 7)
    assert docker.calls[-1] == "image inspect docker.io/library/thing:1 ours x"


def test_a_build_that_fails_shows_the_end_of_its_log_and_what_to_do(
    docker: FakeDocker, home: Home, stack: list[Image], progress: Progress
) -> None:
    docker.answer(
        "compose --project-name=mlops-images", "cat >/dev/null; seq 100; echo 'no space left on device'; exit 1"
    )
    with pytest.raises(PlatformError, match="the image ours:1 could not be built") as told:
        Builder(Engine.find(), home, progress).run([Step("ours:1", stack[-1].build, "checkout")])
    assert told.value.detail.splitlines() == [*map(str, range(82, 101)), "no space left on device"]
    assert "docker system prune" in told.value.do
    assert Path(told.value.where).read_text().startswith("1\n2\n")
    assert not (home.state / "lent").exists()


def test_a_variable_in_the_model_is_no_variable_of_compose(
    docker: FakeDocker, home: Home, progress: Progress, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    docker.answer("image inspect", "echo []")
    docker.answer("compose --project-name=mlops-images", f"cat >{tmp_path}/model; exit 1")
    with pytest.raises(PlatformError):
        Builder(Engine.find(), home, progress).run(
            [Step("ours:1", Build(tmp_path / "Dockerfile", arguments={"A": "$HOME"}), "checkout")]
        )
    assert '"A": "$$HOME"' in (tmp_path / "model").read_text()


def test_what_does_not_begin_from_another_is_built_beside_it(
    docker: FakeDocker, home: Home, progress: Progress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two end only when both have begun, and the third is begun only when what it begins from has ended."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    steps = []
    for name, base in (("one", "scratch"), ("other", "scratch"), ("above", "one:1")):
        (tmp_path / name).write_text(f"FROM {base}\n")
        steps.append(Step(f"{name}:1", Build(tmp_path / name), "checkout"))
    entries = [
        {"Id": "x", "RepoTags": [step.name], "RepoDigests": None, "Size": 1, "Architecture": "amd64", "RootFS": {}}
        for step in steps
    ]
    docker.answer("image inspect", f"echo '{json.dumps(entries)}'")
    docker.answer(
        "compose --project-name=mlops-images",
        f"""cd {tmp_path}; name=$(sed 's/.*"image": "\\([a-z]*\\):1".*/\\1/'); touch $name-began
if test $name = above; then test -e one-ended; exit; fi
for _ in $(seq 100); do test -e one-began -a -e other-began && touch $name-ended && exit; sleep 0.1; done; exit 1""",
    )
    Builder(Engine.find(), home, progress).run(steps)
    assert (tmp_path / "above-began").exists()


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("failed to resolve source metadata for docker.io/library/python:3.11", "--from-packages"),
        ('Head "https://quay.io/v2/nosuch/abc/manifests/1": no such host', "--from-packages"),
        ("pull access denied for mlops-x, repository does not exist", "--from-packages"),
        ("SSLError: certificate verify failed: unable to get local issuer", "SSL_CERT_FILE"),
        ("invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
        ("Temporary failure resolving 'packages.example'", "proxy"),
        ("E: Version '9*' for 'prometheus' was not found", "read the lines above"),
    ],
)
def test_what_to_do_about_a_failure(log: str, says: str) -> None:
    assert says in advice(f"#5 12.3 {log}\nmore\n")


def test_a_disk_that_is_too_full_is_told_before(
    docker: FakeDocker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    docker.answer("info", f"echo {tmp_path}")
    docker.answer("context inspect", "echo unix:///run/docker.sock")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(0, 0, 5000 << 20))
    check_disk(Engine.find(), 5000)
    with pytest.raises(PlatformError, match=r"5000 MB of disk are free .* about 5001 MB") as told:
        check_disk(Engine.find(), 5001)
    assert told.value.where == str(tmp_path)


def test_the_disk_of_an_engine_elsewhere_is_not_ours_to_look_at(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answer("info", f"echo {tmp_path}")
    docker.answer("context inspect", "echo tcp://10.0.0.1:2376")
    check_disk(Engine.find(), 1 << 40)
