"""People on a real stack: what a change does everywhere, what a failure leaves, and what is left of somebody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.e2e.people import DAG, Doors, Someone, added, closed, log_a_run
from tests.e2e.trade import awaited
from tools.scratch import PLATFORM, Stack

pytestmark = pytest.mark.airflow


@pytest.fixture(scope="module")
def doors(stack: Stack) -> Doors:
    return Doors(stack)


def test_the_same_again_changes_nothing(stack: Stack, doors: Doors) -> None:
    person = added(stack, "engineer")
    before = doors.programs(person)
    again = stack.platform("users", "add", person.name, "--role", "engineer", check=True)
    assert (again.stdout, again.stderr) == ("", f"{person.name} is an engineer already; nothing was changed\n")
    assert doors.programs(person) == before
    assert doors.lets_into_airflow(person)


def test_another_role_holds_everywhere_and_the_password_stays(stack: Stack, doors: Doors) -> None:
    person = added(stack, "engineer")
    register = "2.0/mlflow/registered-models/create"
    assert doors.mlflow(person, "POST", register, name=person.name).status_code == 200
    changed = stack.platform("users", "add", person.name, "--role", "viewer", "--json", check=True)
    told = json.loads(changed.stdout)
    assert told["password"] is None
    assert {change["service"]: change["level"] for change in told["changes"]} == {
        "mlflow": "viewer",
        "airflow": "Viewer",
        "warehouse": "data",
        "serving": "",
    }
    assert doors.listed()[person.name]["role"] == "viewer"
    assert doors.mlflow(person, "POST", register, name=f"{person.name}-2").status_code == 403
    with doors.airflow(person) as airflow:
        connection = {"connection_id": f"people_{uuid4().hex[:6]}", "conn_type": "http"}
        awaited(lambda: airflow.post("/api/v2/connections", json=connection).status_code == 403, "Airflow's refusal")


def test_a_disabled_person_opens_nothing_and_finds_all_again(stack: Stack, doors: Doors) -> None:
    ana = added(stack, "scientist")
    given = doors.programs(ana)
    experiment, _ = log_a_run(stack, given).stdout.splitlines()[-1].split()
    session = psycopg.connect(given["WAREHOUSE_URL"])
    with doors.airflow(ana) as airflow:
        assert airflow.get(DAG).status_code == 200
        done = stack.platform("users", "disable", ana.name, check=True)
        assert [line.split()[0] for line in done.stderr.splitlines()[:5]] == [
            "serving", "warehouse", "mlflow-programs", "airflow", "mlflow",
        ]  # fmt: skip
        assert doors.mlflow(ana, "GET", "2.0/mlflow/users/current").status_code == 401
        assert closed(doors, given) == {"mlflow", "warehouse", "serving"}
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        awaited(lambda: airflow.get(DAG).status_code in (401, 403), "Airflow's refusal of a token that it gave")
    assert not doors.lets_into_airflow(ana)
    assert doors.listed()[ana.name]["state"] == "disabled"
    assert not (stack.home / "people" / f"{ana.name}.env").exists()
    refused = stack.platform("users", "env", ana.name)
    assert (refused.returncode, f"{ana.name} is disabled" in refused.stderr) == (2, True)
    again = stack.platform("users", "disable", ana.name, check=True)
    assert again.stderr == f"{ana.name} is disabled already; nothing was changed\n"

    back = Someone(
        ana.name,
        "scientist",
        stack.platform("users", "add", ana.name, "--role", "scientist", check=True).stdout.strip(),
    )
    assert doors.listed()[ana.name]["state"] == "active"
    assert doors.mlflow(ana, "GET", "2.0/mlflow/users/current").status_code == 401, "the password before"
    assert doors.mlflow(back, "POST", "2.0/mlflow/runs/create", experiment_id=experiment).status_code == 200
    assert log_a_run(stack, doors.programs(back)).returncode == 0
    with doors.airflow(back) as airflow:
        awaited(lambda: airflow.get(DAG).is_success, "Airflow lets her in again")


def test_a_new_password_is_one_for_all(stack: Stack, doors: Doors) -> None:
    person = added(stack, "viewer")
    given = doors.programs(person)
    reset = Someone(person.name, person.role, stack.platform("users", "reset", person.name, check=True).stdout.strip())
    assert reset.password not in ("", person.password)
    assert doors.mlflow(person, "GET", "2.0/mlflow/users/current").status_code == 401
    assert doors.mlflow(reset, "GET", "2.0/mlflow/users/current").json()["user"]["username"] == person.name
    assert (doors.lets_into_airflow(person), doors.lets_into_airflow(reset)) == (False, True)
    assert doors.programs(person) == given, "programs go on"


def test_one_may_change_ones_own_password_in_mlflow(stack: Stack, doors: Doors) -> None:
    person, chosen = added(stack, "viewer"), uuid4().hex
    body = {"username": person.name, "password": chosen}
    path = "2.0/mlflow/users/update-password"
    assert doors.mlflow(person, "PATCH", path, **body).status_code == 400, "without the one before"
    assert doors.mlflow(person, "PATCH", path, **body, current_password=person.password).status_code == 200
    assert doors.mlflow((person.name, chosen), "GET", "2.0/mlflow/users/current").status_code == 200
    other = {"username": "pipelines", "password": chosen, "current_password": person.password}
    assert doors.mlflow((person.name, chosen), "PATCH", path, **other).status_code == 403


def test_a_service_that_is_away_is_named_and_made_up_for(stack: Stack, doors: Doors) -> None:
    name = f"late-{uuid4().hex[:6]}"
    supervisorctl = [str(PLATFORM.with_name("supervisorctl")), "-s", f"unix://{stack.home}/run/supervisor.sock"]
    subprocess.run([*supervisorctl, "stop", "serving"], check=True, capture_output=True)
    try:
        done = stack.platform("users", "add", name, "--role", "scientist")
        assert done.returncode == 1
        assert "serving: the model server does not answer" in done.stderr
        assert f"then `platform users add {name} --role scientist` again: it completes what is missing" in done.stderr
        assert "Traceback" not in done.stderr
        person = Someone(name, "scientist", done.stdout.strip())
        assert doors.mlflow(person, "GET", "2.0/mlflow/users/current").status_code == 200
        listed = stack.platform("users", "list", "--json")
        assert listed.returncode == 1
        assert "serving" not in next(p for p in json.loads(listed.stdout) if p["name"] == name)["services"]
        unknown = stack.platform("users", "env", name)
        assert (unknown.returncode, "does not answer" in unknown.stderr) == (1, True)
    finally:
        stack.platform("restart", "serving", check=True)
    assert doors.listed()[name]["state"] == "incomplete"
    missing = stack.platform("users", "env", name)
    assert (missing.returncode, "are not complete" in missing.stderr) == (1, True)
    completed = stack.platform("users", "add", name, "--role", "scientist", check=True)
    assert (completed.stdout, completed.stderr.split()) == ("", ["serving", "made,", "predict+feedback"])
    assert doors.listed()[name]["state"] == "active"
    assert closed(doors, doors.programs(person)) == set()


def test_who_did_what_is_written_down(stack: Stack) -> None:
    person = added(stack, "viewer")
    stack.platform("users", "disable", person.name, check=True)
    query = "SELECT actor, action, project, details FROM audit.actions WHERE details->>'person' = %s ORDER BY id"
    with psycopg.connect(stack.env["WAREHOUSE_URL"]) as connection:
        rows = connection.execute(query, (person.name,)).fetchall()
    assert [(actor.endswith("@shell"), action, project) for actor, action, project, _ in rows] == [
        (True, "users_add", ""),
        (True, "users_disable", ""),
    ]
    assert rows[0][3]["role"] == "viewer"
    assert rows[0][3]["done"] == [
        "mlflow: made viewer",
        "airflow: made Viewer",
        "mlflow-programs: made as the person",
        "warehouse: made data",
    ]


def test_a_password_is_in_no_file_and_what_programs_have_in_one(stack: Stack, doors: Doors) -> None:
    ana = added(stack, "scientist")
    log_a_run(stack, doors.programs(ana))
    assert doors.lets_into_airflow(ana)
    given = doors.programs(ana)
    secrets = {"password": ana.password, "key": given["SERVING_API_KEY"], "tracking": given["MLFLOW_TRACKING_PASSWORD"]}
    found = {kind: set(files_with(stack.home, secret)) for kind, secret in secrets.items()}
    own = stack.home / "people" / f"{ana.name}.env"
    assert found == {"password": set(), "key": {own}, "tracking": {own}}
    assert own.stat().st_mode & 0o777 == 0o600
    assert own.parent.stat().st_mode & 0o777 == 0o700


def files_with(home: Path, text: str) -> Iterator[Path]:
    for part in ("logs", "state", "data", "run", "config", "steps", "people"):
        for file in (home / part).rglob("*"):
            if file.is_file() and not file.is_symlink() and text.encode() in file.read_bytes():
                yield file
