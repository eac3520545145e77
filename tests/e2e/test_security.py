"""Every port refuses a call without credentials, and one service's credentials do not open another's data."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import psycopg
import pytest

from tools.scratch import Stack

pytestmark = pytest.mark.airflow

LISTEN = "0A"
REFUSED = (401, 403)
# what a stranger would ask for first
PATHS = {
    "MLFLOW_PORT": ["/", "/metrics", "/api/2.0/mlflow/users/get?username=admin", "/ajax-api/2.0/mlflow/runs/search"],
    "AIRFLOW_PORT": ["/api/v2/dags", "/api/v2/connections", "/api/v2/variables"],
    "SERVING_PORT": ["/models", "/metrics", "/docs", "/openapi.json"],
    "S3_PORT": ["/", "/landing", "/mlflow", "/snapshots"],
    "PROMETHEUS_PORT": ["/", "/metrics", "/api/v1/query?query=up", "/api/v1/status/config"],
    "ALERTMANAGER_PORT": ["/", "/api/v2/alerts", "/api/v2/status"],
    "PUSHGATEWAY_PORT": ["/", "/metrics", "/api/v1/metrics"],
    "NODE_EXPORTER_PORT": ["/", "/metrics"],
    "POSTGRES_EXPORTER_PORT": ["/", "/metrics"],
    "AIRFLOW_EXPORTER_PORT": ["/", "/metrics"],
    "SEAWEEDFS_MASTER_PORT": ["/dir/assign", "/dir/status", "/cluster/status", "/vol/status", "/"],
    "SEAWEEDFS_VOLUME_PORT": ["/status", "/1,0000000000", "/"],
    "SEAWEEDFS_FILER_PORT": ["/", "/buckets/", "/buckets/landing/", "/etc/"],
}
DATABASES = {
    "airflow": ["airflow"],
    "mlflow": ["mlflow", "mlflow_auth"],
    "pipelines": ["warehouse"],
    "serving": ["serving"],
    "coder": ["coder"],
    "exporter": ["postgres"],
    "airflow_exporter": ["airflow"],
}


def listeners(stack: Stack) -> dict[int, str]:
    """Port → address, of all that the stack's processes listen on."""
    inodes = set()
    for pid in stack.processes():
        try:
            links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and fields[9] in inodes:
                address, port = fields[1].rsplit(":", 1)
                found[int(port, 16)] = address
    return found


def test_every_open_port_is_a_setting_and_bound_to_loopback(stack: Stack) -> None:
    named = {int(value): key for key, value in stack.settings.items() if key.endswith("_PORT")}
    found = listeners(stack)
    assert [port for port in found if port not in named] == []
    assert {int(stack.settings[key]) for key in ("POSTGRES_PORT", "MLFLOW_PORT", "SERVING_PORT")} <= set(found)
    loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
    assert {named[port]: address for port, address in found.items() if address != loopback} == {}


@pytest.mark.parametrize("key", PATHS)
def test_a_call_without_credentials_is_refused(stack: Stack, key: str) -> None:
    port = int(stack.settings[key])
    if port not in listeners(stack):
        assert key.startswith("SEAWEEDFS_"), f"{key} is not open"
        return
    for path in PATHS[key]:
        for method in ("GET", "POST", "PUT", "DELETE"):
            try:
                answer = httpx.request(method, f"http://127.0.0.1:{port}{path}", timeout=10, follow_redirects=False)
            except httpx.HTTPError:
                continue  # it does not even speak to a stranger
            assert answer.status_code in REFUSED or refuses_otherwise(answer), (
                f"{method} {path} on {key}: {answer.status_code} {answer.text[:200]}"
            )


def refuses_otherwise(answer: httpx.Response) -> bool:
    """Method or path unknown, or sent to a sign-in page: nothing was shown and nothing done."""
    to_sign_in = answer.status_code in (302, 303, 307) and "login" in answer.headers.get("location", "")
    return to_sign_in or answer.status_code in (400, 404, 405)


@pytest.mark.parametrize(
    "key", ["S3_GRPC_PORT", "SEAWEEDFS_MASTER_GRPC_PORT", "SEAWEEDFS_VOLUME_GRPC_PORT", "SEAWEEDFS_FILER_GRPC_PORT"]
)
def test_the_stores_inner_ports_speak_only_to_its_own_certificate(stack: Stack, key: str) -> None:
    port = int(stack.settings[key])
    if port not in listeners(stack):
        return
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        # HTTP/2 in the clear, as gRPC without TLS begins: a server that wants TLS hangs up
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        answer = b""
        while chunk := receive(connection):
            answer += chunk
    # a TLS alert (21) is a refusal; HTTP/2 frames would begin with a length and type 4 (SETTINGS)
    assert answer == b"" or answer[0] == 21, answer


def receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("mlflow", "/api/2.0/mlflow/experiments/get?experiment_id=0"),
        ("prometheus", "/api/v1/query?query=up"),
        ("alertmanager", "/api/v2/status"),
        ("pushgateway", "/metrics"),
        ("node-exporter", "/metrics"),
        ("postgres-exporter", "/metrics"),
        ("airflow-exporter", "/metrics"),
    ],
)
def test_the_right_password_is_let_in_and_a_wrong_one_is_not(stack: Stack, service: str, path: str) -> None:
    account = stack.credentials(service)
    right = httpx.get(account["url"] + path, auth=(account["username"], account["password"]))
    wrong = httpx.get(account["url"] + path, auth=(account["username"], account["password"] + "x"))
    assert (right.status_code, wrong.status_code) == (200, 401)


def test_airflow_signs_in_with_the_right_password_only(stack: Stack) -> None:
    account = stack.credentials("airflow-api-server")
    body = {"username": account["username"], "password": account["password"]}
    assert httpx.post(account["url"] + "/auth/token", json=body, timeout=30).status_code == 201
    refused = httpx.post(account["url"] + "/auth/token", json=body | {"password": "wrong"}, timeout=30)
    assert refused.status_code == 401


def test_a_wrong_key_for_the_model_server_is_refused(stack: Stack) -> None:
    account = stack.credentials("serving")
    for headers, code in (
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {account['token']}"}, 200),
    ):
        assert httpx.get(account["url"] + "/models", headers=headers).status_code == code


@pytest.mark.parametrize(("key", "code"), [("platform.serving", 404), ("platform.gate", 403)])
def test_the_model_server_may_write_one_tag_in_mlflow_and_no_other(stack: Stack, key: str, code: int) -> None:
    password = secret(stack, "MLFLOW_SERVING_PASSWORD")
    body = {"name": "no-such-model", "version": "1", "key": key, "value": "x"}
    url = stack.credentials("mlflow")["url"] + "/api/2.0/mlflow/model-versions/set-tag"
    assert httpx.post(url, json=body, auth=("serving", password), timeout=30).status_code == code


def secret(stack: Stack, name: str) -> str:
    lines = (stack.home / "secrets.env").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)[name]


def connect(stack: Stack, role: str, database: str, password: str | None = None) -> psycopg.Connection:
    own = secret(stack, f"POSTGRES_{role.upper()}_PASSWORD")
    port = stack.settings["POSTGRES_PORT"]
    return psycopg.connect(host="127.0.0.1", port=port, user=role, password=password or own, dbname=database)


@pytest.mark.parametrize("role", DATABASES)
def test_a_database_role_sees_only_its_own_databases(stack: Stack, role: str) -> None:
    every = {name for names in DATABASES.values() for name in names} | {"postgres", "template1"}
    opened = set()
    for database in sorted(every):
        try:
            connect(stack, role, database).close()
        except psycopg.OperationalError as error:
            assert "permission denied for database" in str(error), error
        else:
            opened.add(database)
    # monitoring joins predictions with what happened: the one exception
    assert opened == set(DATABASES[role]) | ({"serving"} if role == "pipelines" else set())


def test_the_steps_may_read_predictions_and_nothing_more(stack: Stack) -> None:
    with connect(stack, "pipelines", "serving") as connection:
        connection.execute("SELECT count(*) FROM predictions")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM predictions")


def test_an_exporter_sees_states_and_times_and_not_what_they_are_about(stack: Stack) -> None:
    with connect(stack, "airflow_exporter", "airflow") as connection:
        connection.execute("SELECT dag_id, state FROM dag_run")
    for query in ("SELECT conf FROM dag_run", "SELECT stacktrace FROM import_error", "SELECT * FROM connection"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connect(stack, "airflow_exporter", "airflow") as own:
            own.execute(query)
    with connect(stack, "exporter", "postgres") as connection:
        assert connection.execute("SELECT count(*) FROM pg_stat_activity WHERE query <> ''").fetchone() != (0,)


def test_a_wrong_database_password_is_refused(stack: Stack) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(stack, "pipelines", "warehouse", password="wrong")
