"""The local runtime: up, down, repair, refusals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import ENVS
from tools.scratch import PLATFORM, REPO, Stack, new_stack

pytestmark = pytest.mark.airflow


def pids(stack: Stack) -> dict[str, int]:
    return {name: entry["pid"] for name, entry in stack.status().items() if entry["pid"]}


def test_up_twice_changes_nothing(stack: Stack) -> None:
    before = pids(stack)
    done = stack.platform("up", check=True)
    assert "nothing was changed" in done.stderr
    assert pids(stack) == before


def test_status_names_every_service_and_all_are_healthy(stack: Stack) -> None:
    done = stack.platform("status", "--json")
    entries = json.loads(done.stdout)
    assert done.returncode == 0
    assert {entry["service"] for entry in entries} >= {
        "postgres",
        "mlflow",
        "airflow-scheduler",
        "serving",
        "seaweedfs",
    }
    assert all(entry["healthy"] for entry in entries), entries
    assert all(set(entry) >= {"service", "state", "healthy", "url", "pid"} for entry in entries)


@pytest.mark.parametrize(
    "killed", [{"postgres"}, {"mlflow", "airflow-api-server", "airflow-scheduler", "serving", "seaweedfs"}]
)
def test_killed_services_come_back(stack: Stack, killed: set[str]) -> None:
    before = pids(stack)
    for service in killed:
        os.kill(before[service], signal.SIGKILL)
    stack.platform("up", check=True)
    after = stack.status()
    assert [entry for entry in after.values() if not entry["healthy"]] == []
    # what does not outlive PostgreSQL is started again with it: it would look healthy, and end some seconds later
    airflow = {"airflow-scheduler", "airflow-dag-processor", "airflow-triggerer"}
    with_it = airflow if "postgres" in killed else set()
    assert {name for name in killed | with_it if after[name]["pid"] == before[name]} == set()


def test_a_stopped_service_is_repaired_by_up(stack: Stack) -> None:
    frozen = pids(stack)["serving"]
    os.kill(frozen, signal.SIGSTOP)
    stack.platform("up", check=True)
    assert pids(stack)["serving"] != frozen
    assert not Path(f"/proc/{frozen}").exists()


def test_up_after_the_supervisor_was_killed_leaves_no_second_copy(stack: Stack) -> None:
    os.kill(int((stack.home / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    old = set(stack.processes())
    stack.platform("up", check=True)
    assert all(entry["healthy"] for entry in stack.status().values())
    assert not old & set(stack.processes())


def test_what_a_finished_step_made_is_made_again_when_it_is_gone(stack: Stack) -> None:
    before = pids(stack)
    manifest = stack.home / "steps" / "dbt" / "manifest.json"
    manifest.unlink()
    stack.platform("up", check=True)
    assert manifest.exists()
    assert pids(stack) == before


def test_restart_replaces_one_service_only(stack: Stack) -> None:
    before = pids(stack)
    stack.platform("restart", "serving", check=True)
    after = pids(stack)
    assert {name for name in before if before[name] != after[name]} == {"serving"}


def test_logs_show_the_last_lines(stack: Stack) -> None:
    done = stack.platform("logs", "mlflow", "-n", "3", check=True)
    assert 1 <= len(done.stdout.splitlines()) <= 3


@pytest.mark.parametrize(
    "words", [("logs", "nothing"), ("restart", "nothing"), ("open", "nothing"), ("credentials", "nothing")]
)
def test_an_unknown_service_is_refused_with_those_there_are(stack: Stack, words: tuple[str, ...]) -> None:
    done = stack.platform(*words)
    assert done.returncode == 2
    assert "mlflow" in done.stderr
    assert "Traceback" not in done.stderr


def secrets_of(stack: Stack) -> list[str]:
    lines = (stack.home / "secrets.env").read_text().splitlines()
    return [secret for line in lines if not line.startswith("#") if (secret := line.partition("=")[2])]


def test_secrets_are_the_owners_alone_and_in_no_log(stack: Stack) -> None:
    file = stack.home / "secrets.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secrets = secrets_of(stack)
    logs = "".join(path.read_text(errors="replace") for path in (stack.home / "logs").glob("*.log"))
    configuration = (stack.home / "state" / "supervisord.conf").read_text()
    assert [secret for secret in secrets if secret in logs or secret in configuration] == []
    for spec in (stack.home / "state" / "services").iterdir():
        assert stat.S_IMODE(spec.stat().st_mode) == 0o600, spec


def test_no_secret_stands_on_a_command_line(stack: Stack) -> None:
    secrets = [secret.encode() for secret in secrets_of(stack)]
    for pid in stack.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert not any(secret in words for secret in secrets), words


def service_of(pid: int) -> str:
    """The service that a process of a stack belongs to; empty if it is gone."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((v.partition(b"=")[2].decode() for v in variables if v.startswith(b"PLATFORM_SERVICE=")), "")


def test_two_stacks_side_by_side_one_that_dies_while_it_starts_and_down_leaves_nothing(
    stack: Stack, bare_stack: Stack
) -> None:
    before = pids(stack)
    words = [str(PLATFORM), "up"]
    environment = os.environ | {"PLATFORM_HOME": str(bare_stack.home)}
    with subprocess.Popen(words, env=environment, cwd=REPO, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not (found := [pid for pid in bare_stack.processes() if service_of(pid) == "mlflow"]):
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.05)
        os.kill(found[0], signal.SIGKILL)
        _, said = running.communicate(timeout=300)
    assert running.returncode == 0, said
    assert all(entry["healthy"] for entry in bare_stack.status().values()), "it was started again"
    assert len(bare_stack.processes()) > 10

    bare_stack.platform("down", check=True)
    # PostgreSQL cannot start on data of another version
    next((bare_stack.home / "data" / "postgres").rglob("PG_VERSION")).write_text("9\n")
    done = bare_stack.platform("up")
    assert done.returncode == 1
    assert "error: postgres" in done.stderr
    assert "logs/postgres.log" in done.stderr
    assert "initialized by PostgreSQL version 9" in done.stderr

    (bare_stack.home / "secrets.env").unlink()
    bare_stack.platform("down", "--purge", "--yes", check=True)
    assert bare_stack.processes() == []
    assert not bare_stack.home.exists()
    assert pids(stack) == before


# -- refusals: nothing is touched ------------------------------------------------------------------------------------


def nothing_made(stack: Stack) -> bool:
    return {path.name for path in stack.home.iterdir()} <= {"envs", "platform.env", ".platform-home"}


def test_a_port_in_use_is_refused_naming_who_holds_it(bare_stack: Stack) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", int(bare_stack.settings["MLFLOW_PORT"])))
        holder.listen()
        done = bare_stack.platform("up")
    assert done.returncode == 1
    assert re.search(rf"MLFLOW_PORT.*process {os.getpid()} ", done.stderr), done.stderr
    assert "--set MLFLOW_PORT=" in done.stderr
    assert nothing_made(bare_stack)


def test_too_little_disk_or_memory_is_refused(bare_stack: Stack) -> None:
    done = bare_stack.platform(
        "up", "--set", "PREFLIGHT_RUN_DISK_MB=999999999", "--set", "PREFLIGHT_MEMORY_MB=999999999"
    )
    assert done.returncode == 1
    assert "MB of disk are free" in done.stderr
    assert "MB of memory are available" in done.stderr
    assert nothing_made(bare_stack)
    assert "999999999" not in (bare_stack.home / "platform.env").read_text()


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = Stack(tmp_path / "file" / "home").platform("up")
    assert done.returncode == 1
    assert "is a file, not a directory" in done.stderr
    done = Stack(Path("/proc/platform")).platform("up")
    assert done.returncode == 1
    assert "no write access to /proc" in done.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("MLFLOW_PROT=5000", ["unknown setting", "MLFLOW_PORT", "platform.env"]),
        ("AIRFLOW_PARALLELISM=many", ["AIRFLOW_PARALLELISM", "whole number", "platform.env"]),
    ],
)
def test_a_wrong_setting_is_refused(bare_stack: Stack, line: str, words: list[str]) -> None:
    with (bare_stack.home / "platform.env").open("a") as file:
        file.write(line + "\n")
    done = bare_stack.platform("up")
    assert done.returncode == 2
    assert all(word in done.stderr for word in words), done.stderr
    assert "Traceback" not in done.stderr
    assert nothing_made(bare_stack)


def test_missing_secrets_are_not_made_anew_under_data(bare_stack: Stack) -> None:
    (bare_stack.home / "data" / "postgres").mkdir(parents=True)
    done = bare_stack.platform("up")
    assert done.returncode == 1
    assert "secrets file is gone" in done.stderr
    bare_stack.platform("down", "--purge", "--yes", check=True)
    assert not bare_stack.home.exists()


def test_commands_before_the_first_up_say_so() -> None:
    stack = new_stack(ENVS)
    for words in (("status",), ("logs", "mlflow"), ("credentials",), ("run", "flight_delay", "train")):
        done = stack.platform(*words)
        assert done.returncode == 1
        assert "run `platform up`" in done.stderr
    stack.platform("down", "--purge", "--yes", check=True)
    assert not stack.home.exists()
