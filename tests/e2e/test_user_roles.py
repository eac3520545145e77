"""People on a real stack: each role at each door, and what programs are given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.e2e.people import DAG, Doors, Someone, added, closed, log_a_run, workspace
from tests.e2e.trade import awaited
from tools.scratch import Stack

pytestmark = pytest.mark.airflow

ROLES = ("viewer", "scientist", "engineer", "admin")


@pytest.fixture(scope="module")
def doors(stack: Stack) -> Doors:
    return Doors(stack)


@pytest.fixture(scope="module")
def people(stack: Stack) -> dict[str, Someone]:
    return {role: added(stack, role) for role in ROLES}


@pytest.fixture(scope="module")
def model(stack: Stack, doors: Doors) -> Iterator[str]:
    """A model of the platform's own account, with one version."""
    name, account = f"people-{uuid4().hex[:6]}", ("pipelines", stack.env["MLFLOW_TRACKING_PASSWORD"])
    doors.mlflow(account, "POST", "2.0/mlflow/registered-models/create", name=name).raise_for_status()
    made = doors.mlflow(account, "POST", "2.0/mlflow/model-versions/create", name=name, source="s3://mlflow/none")
    made.raise_for_status()
    yield name
    doors.mlflow(account, "DELETE", "2.0/mlflow/registered-models/delete", name=name)


@pytest.fixture
def mart(stack: Stack) -> Iterator[Callable[[str], str]]:
    """Makes tables in schemas of the warehouse as dbt does; they are gone afterwards."""
    made: list[str] = []
    with psycopg.connect(stack.env["WAREHOUSE_URL"], autocommit=True) as connection:

        def make(schema: str) -> str:
            made.append(f"{schema}.people_{uuid4().hex[:6]}")
            connection.execute(f"CREATE TABLE {made[-1]} AS SELECT 1 AS a")
            return made[-1]

        yield make
        for table in made:
            connection.execute(f"DROP TABLE {table}")


def test_everybody_is_listed_complete_with_their_role(people: dict[str, Someone], doors: Doors) -> None:
    listed = doors.listed()
    for person in people.values():
        found = listed[person.name]
        assert (found["role"], found["state"]) == (person.role, "active")
        has = {place for place, account in found["services"].items() if account is not None}
        key = set() if person.role == "viewer" else {"serving"}
        assert has == {"mlflow", "airflow", "mlflow-programs", "warehouse"} | key


MAY_IN_MLFLOW = {
    "viewer": {"log": 403, "register": 403, "promote": 403, "administer": 403},
    "scientist": {"log": 200, "register": 403, "promote": 403, "administer": 403},
    "engineer": {"log": 200, "register": 200, "promote": 200, "administer": 403},
    "admin": {"log": 200, "register": 200, "promote": 200, "administer": 200},
}
MAY_IN_AIRFLOW = {
    "viewer": {"trigger": 403, "connect": 403, "administer": 403},
    "scientist": {"trigger": 200, "connect": 403, "administer": 403},
    "engineer": {"trigger": 200, "connect": 201, "administer": 403},
    "admin": {"trigger": 200, "connect": 201, "administer": 200},
}


@pytest.mark.parametrize("role", ROLES)
def test_mlflow(people: dict[str, Someone], doors: Doors, model: str, role: str) -> None:
    person, fresh = people[role], f"{role}-{uuid4().hex[:6]}"
    assert doors.mlflow(person, "GET", "2.0/mlflow/registered-models/get", name=model).status_code == 200
    found = doors.mlflow(person, "POST", "2.0/mlflow/experiments/search", max_results=5)
    assert (found.status_code, bool(found.json()["experiments"])) == (200, True)
    logged = doors.mlflow(person, "POST", "2.0/mlflow/experiments/create", name=fresh)
    if logged.is_success:
        logged = doors.mlflow(person, "POST", "2.0/mlflow/runs/create", **logged.json())
    registered = doors.mlflow(person, "POST", "2.0/mlflow/registered-models/create", name=fresh)
    alias = {"name": model, "alias": f"of-{role}", "version": "1"}
    promoted = doors.mlflow(person, "POST", "2.0/mlflow/registered-models/alias", **alias)
    administered = doors.mlflow(person, "GET", "3.0/mlflow/roles/list")
    answers = {"log": logged, "register": registered, "promote": promoted, "administer": administered}
    assert {what: answer.status_code for what, answer in answers.items()} == MAY_IN_MLFLOW[role]


def test_nobody_but_engineers_changes_what_another_has_logged(people: dict[str, Someone], doors: Doors) -> None:
    name = f"of-ana-{uuid4().hex[:6]}"
    made = doors.mlflow(doors.owner(), "POST", "2.0/mlflow/experiments/create", name=name)
    body = {"experiment_id": made.json()["experiment_id"]}
    codes = {role: doors.mlflow(people[role], "POST", "2.0/mlflow/runs/create", **body).status_code for role in ROLES}
    assert codes == {"viewer": 403, "scientist": 403, "engineer": 200, "admin": 200}


@pytest.mark.parametrize("role", ROLES)
def test_airflow(people: dict[str, Someone], doors: Doors, role: str) -> None:
    with doors.airflow(None) as owner, doors.airflow(people[role]) as person:
        awaited(lambda: person.get(DAG).is_success, "the DAG is seen")
        owner.patch(DAG, json={"is_paused": True}).raise_for_status()
        try:
            triggered = person.post(f"{DAG}/dagRuns", json={"logical_date": None, "conf": {}})
            if triggered.is_success:
                owner.delete(f"{DAG}/dagRuns/{triggered.json()['dag_run_id']}").raise_for_status()
        finally:
            owner.patch(DAG, json={"is_paused": False}).raise_for_status()
        connection = {"connection_id": f"people_{uuid4().hex[:6]}", "conn_type": "http"}
        connected = person.post("/api/v2/connections", json=connection)
        if connected.is_success:
            owner.delete(f"/api/v2/connections/{connection['connection_id']}").raise_for_status()
        answers = {"trigger": triggered, "connect": connected, "administer": person.get("/auth/fab/v1/users")}
        assert {what: answer.status_code for what, answer in answers.items()} == MAY_IN_AIRFLOW[role]


WRITING = ("DELETE FROM {}", "INSERT INTO {} VALUES (2)", "DROP TABLE {}", "CREATE TABLE {}x (a int)")


@pytest.mark.parametrize("role", ROLES)
def test_warehouse(people: dict[str, Someone], doors: Doors, mart: Callable[[str], str], role: str) -> None:
    url = doors.programs(people[role])["WAREHOUSE_URL"]
    with psycopg.connect(url, autocommit=True) as connection:
        for table in (mart(schema) for schema in ("raw", "staging", "marts")):
            assert connection.execute(f"TABLE {table}").fetchall() == [(1,)]
            for statement in WRITING:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.format(table))
        if role in ("engineer", "admin"):
            connection.execute("TABLE audit.actions")
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("TABLE audit.actions")
    for database in ("mlflow", "mlflow_auth", "airflow", "serving", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url.replace("/warehouse", f"/{database}"))


def test_the_model_server(people: dict[str, Someone], doors: Doors) -> None:
    for role in ROLES[1:]:
        given = doors.programs(people[role])
        headers = {"Authorization": f"Bearer {given['SERVING_API_KEY']}"}
        codes = [
            httpx.get(f"{given['SERVING_URL']}{path}", headers=headers).status_code for path in ("/models", "/keys")
        ]
        assert codes == [200, 403], "nobody's programs make keys"
    assert "SERVING_API_KEY" not in doors.programs(people["viewer"])


def test_what_a_program_logs_is_the_persons(stack: Stack, people: dict[str, Someone], doors: Doors) -> None:
    ana = people["scientist"]
    done = log_a_run(stack, doors.programs(ana))
    assert done.returncode == 0, done.stderr
    experiment, run = done.stdout.splitlines()[-1].split()
    found = doors.mlflow(ana, "GET", "2.0/mlflow/experiments/get", experiment_id=experiment).json()["experiment"]
    assert found["name"] == f"users/{ana.name}"
    renamed = doors.mlflow(ana, "POST", "2.0/mlflow/experiments/update", experiment_id=experiment, new_name=ana.name)
    assert renamed.status_code == 200, "it is hers, not the program's"
    assert doors.mlflow(ana, "POST", "2.0/mlflow/runs/delete", run_id=run).status_code == 200
    back = f"users/{ana.name}"
    doors.mlflow(ana, "POST", "2.0/mlflow/experiments/update", experiment_id=experiment, new_name=back)


def test_a_program_may_not_what_its_person_may_not(
    stack: Stack, people: dict[str, Someone], doors: Doors, model: str
) -> None:
    given = doors.programs(people["scientist"])
    account = (given["MLFLOW_TRACKING_USERNAME"], given["MLFLOW_TRACKING_PASSWORD"])
    body = {"name": model, "alias": "champion", "version": "1"}
    assert doors.mlflow(account, "POST", "2.0/mlflow/registered-models/alias", **body).status_code == 403
    viewer = log_a_run(stack, doors.programs(people["viewer"]))
    assert (viewer.returncode, "a viewer may only read" in viewer.stderr) == (1, True)


def test_what_programs_have_is_the_same_until_it_is_renewed(stack: Stack, doors: Doors) -> None:
    person = added(stack, "scientist")
    first = doors.programs(person)
    assert doors.programs(person) == first
    renewed = dict(json.loads(stack.platform("users", "env", person.name, "--renew", "--json", check=True).stdout))
    secrets = {"MLFLOW_TRACKING_PASSWORD", "WAREHOUSE_URL", "SERVING_API_KEY"}
    assert {key for key in first if renewed[key] != first[key]} == secrets
    assert closed(doors, first) == {"mlflow", "warehouse", "serving"}
    assert closed(doors, renewed) == set()
    (stack.home / "people" / f"{person.name}.env").unlink()
    made_anew = doors.programs(person)
    assert {key for key in first if made_anew[key] != renewed[key]} == secrets
    assert closed(doors, made_anew) == set()


def test_a_workspace_is_for_who_may_make_something(stack: Stack, people: dict[str, Someone]) -> None:
    given = workspace(stack, people["scientist"].name)
    assert given.stdout.split() == ["MLFLOW_TRACKING_PASSWORD", "SERVING_API_KEY", "WAREHOUSE_URL"], given.stderr
    viewer, nobody = people["viewer"].name, "nobody-here"
    assert workspace(stack, viewer).stderr.strip() == f"{viewer} is a viewer, and viewers have no workspace"
    assert workspace(stack, nobody).stderr.strip() == f"there is nobody named '{nobody}'"
