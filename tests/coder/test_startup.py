"""What a workspace does when it starts: the real script in a home of its own; JupyterLab, VS Code and Coder's command
are programs that note how they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPO, TEMPLATE

SCRIPTS = REPO / "compose" / "workspace" / "bin"
NOTE = """#!/bin/sh
env -0 >"$HOME/$(basename "$0").env"
printf '%s\\n' "$@" >"$HOME/$(basename "$0").new"
mv "$HOME/$(basename "$0").new" "$HOME/$(basename "$0").called"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("jupyter", "code-server", "coder"):
        (programs / name).write_text(NOTE)
        (programs / name).chmod(0o755)
    # one that is there is used; making one takes its time, and the first test does it
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "home" / ".venv"], check=True)
    return tmp_path / "home"


Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(home: Path) -> Start:
    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        """Start the workspace, and wait until its apps were called."""
        path = f"{SCRIPTS}:{home.parent / 'programs'}:{Path(sys.executable).parent}:/usr/bin:/bin"
        called = [home / f"{name}.called" for name in ("jupyter", "code-server")]
        for file in called:
            file.unlink(missing_ok=True)
        environment = {"HOME": str(home), "PATH": path, "JUPYTER_PREFIX": "/@ana/work/apps/jupyter"} | variables
        done = subprocess.run(
            ["sh", TEMPLATE / "startup.sh"], env=environment, capture_output=True, text=True, check=False
        )
        deadline = time.monotonic() + 20
        while done.returncode == 0 and not all(file.exists() for file in called):
            assert time.monotonic() < deadline, done.stderr
            time.sleep(0.02)
        return done

    return run


def environment_of(home: Path, program: str) -> dict[str, str]:
    entries = (home / f"{program}.env").read_text().split("\0")
    return dict(entry.partition("=")[::2] for entry in entries if entry)


def shell(home: Path, script: str) -> str:
    """What a terminal of the workspace prints."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "--login", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_workspace_starts_twice_and_keeps_what_it_has(start: Start, home: Path) -> None:
    shutil.rmtree(home / ".venv")
    first = start(PLATFORM_CREDENTIALS='{"SERVING_API_KEY": "it\'s $ecret", "MLFLOW_TRACKING_USERNAME": "ana"}')
    assert (first.returncode, first.stderr) == (0, "")

    arguments = (home / "jupyter.called").read_text().splitlines()
    assert arguments[0] == "lab"
    assert "--ServerApp.base_url=/@ana/work/apps/jupyter/" in arguments
    assert "--ServerApp.ip=127.0.0.1" in arguments
    assert "127.0.0.1:13337" in (home / "code-server.called").read_text().splitlines()
    for program in ("jupyter", "code-server"):
        environment = environment_of(home, program)
        assert environment["SERVING_API_KEY"] == "it's $ecret"
        assert environment["VIRTUAL_ENV"] == str(home / ".venv")
        assert "PLATFORM_CREDENTIALS" not in environment

    assert "--IdentityProvider.token=" in arguments
    assert (home / "code-server.called").read_text().splitlines()[2:4] == ["--auth", "none"]
    assert (home / "welcome.ipynb").exists()

    kept = home / ".config" / "platform" / "credentials.sh"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "Only your home lasts" in (kept.parent / "motd").read_text()
    (home / ".venv" / "mine").touch()
    (home / "welcome.ipynb").unlink()
    profile = (home / ".profile").read_text()

    second = start()
    assert (second.returncode, second.stderr) == (0, "")
    assert environment_of(home, "jupyter")["SERVING_API_KEY"] == "it's $ecret"
    assert (home / ".venv" / "mine").exists()
    assert not (home / "welcome.ipynb").exists(), "what a person deleted stays away"
    assert (home / ".profile").read_text() == profile
    assert shell(home, 'printf %s "$SERVING_API_KEY"') == "it's $ecret"
    # what is installed goes to the home; what the image has is seen from there (yaml is in this test's environment)
    assert shell(home, "python -c 'import sys, yaml; print(sys.prefix)'").strip() == str(home / ".venv")

    third = start(PLATFORM_CREDENTIALS='{"SERVING_API_KEY": "renewed"}')
    assert third.returncode == 0
    assert environment_of(home, "code-server")["SERVING_API_KEY"] == "renewed"


def test_a_workspace_that_somebody_made_in_coder_has_what_the_platform_put_into_the_persons_volume(
    start: Start, home: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    start(PLATFORM_CREDENTIALS_DIR=str(volume), PLATFORM_CREDENTIALS='{"SERVING_API_KEY": "kept", "OTHER": "kept"}')
    assert environment_of(home, "jupyter")["SERVING_API_KEY"] == "kept"
    (volume / "credentials.sh").write_text("export SERVING_API_KEY='given'\n")
    assert shell(home, 'printf %s "$SERVING_API_KEY"') == "given", "also in a shell of a workspace that runs"
    start(PLATFORM_CREDENTIALS_DIR=str(volume))
    for program in ("jupyter", "code-server"):
        environment = environment_of(home, program)
        assert (environment["SERVING_API_KEY"], environment["OTHER"]) == ("given", "kept")


def test_credentials_that_cannot_be_read_do_not_replace_the_old_ones(start: Start, home: Path) -> None:
    start(PLATFORM_CREDENTIALS='{"SERVING_API_KEY": "old"}')
    done = start(PLATFORM_CREDENTIALS="{not json: secret")
    assert done.returncode == 0
    assert "no JSON object" in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert environment_of(home, "jupyter")["SERVING_API_KEY"] == "old"
    start(PLATFORM_CREDENTIALS='{"A; touch $HOME/broken": "x"}')
    assert not (home / "broken").exists()


def test_a_repository_is_cloned_once_and_dotfiles_are_applied(start: Start, home: Path, tmp_path: Path) -> None:
    remote = tmp_path / "project.git"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    assert start(GIT_REPOSITORY=str(remote), DOTFILES_REPOSITORY="https://x/dots").returncode == 0
    assert (home / "project" / ".git").is_dir()
    assert (home / "coder.called").read_text().splitlines() == ["dotfiles", "--yes", "--", "https://x/dots"]
    (home / "project" / "mine").touch()
    assert start(GIT_REPOSITORY=str(remote)).stderr == ""
    assert (home / "project" / "mine").exists()


def test_a_repository_that_is_not_there_stops_nothing(start: Start, home: Path, tmp_path: Path) -> None:
    done = start(GIT_REPOSITORY=str(tmp_path / "none.git"))
    assert done.returncode == 0
    assert "error: the repository could not be cloned" in done.stderr


def test_a_home_that_cannot_be_written_is_said(start: Start, home: Path) -> None:
    done = start(HOME="/proc/nothing-here")
    assert done.returncode == 1
    assert "/proc/nothing-here cannot be written" in done.stderr
    assert "owned by its user" in done.stderr
