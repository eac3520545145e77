"""The whole stack as containers, on an engine: up, the sample's loop through the gateway, what becomes of what dies,
down. Left out, by name, since no package carries them: Grafana and Coder (behind profiles), and the Airbyte server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from platform_cli.docker.compose import Compose
from platform_cli.docker.engine import Engine
from platform_cli.docker.images import stack_images
from platform_cli.home import Home, project_name
from platform_cli.stack.settings import load_settings
from tools.scratch import Stack

LEFT_OUT = {"grafana", "coder", "coder-providers", "docker-socket-proxy", "workspace-image"}


def containers(engine: Engine, stack: Stack) -> dict[str, dict[str, Any]]:
    """Service → what the engine says of its container."""
    words = ["ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project_name(Home(stack.home))}"]
    found = json.loads(engine.run("inspect", *engine.run(*words).stdout.split()).stdout)
    return {entry["Config"]["Labels"]["com.docker.compose.service"]: entry for entry in found}


def healthy(stack: Stack) -> bool:
    return all(entry["healthy"] for entry in stack.status().values())


def awaited(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.5)


def test_everything_is_healthy_and_up_again_changes_nothing(stack: Stack) -> None:
    assert healthy(stack), stack.status()
    again = stack.platform("up", check=True)
    assert "nothing was changed" in again.stderr
    assert LEFT_OUT.isdisjoint(stack.status())


def test_what_the_containers_would_be_made_from_is_what_they_were_made_from(engine: Engine, stack: Stack) -> None:
    """Or `up` would have Compose look at all of them again, and wait."""
    made = {
        name: entry["Config"]["Labels"]["com.docker.compose.config-hash"]
        for name, entry in containers(engine, stack).items()
    }
    defined = Compose(engine, Home(stack.home), (), ()).definitions()
    assert {name: defined[name] for name in made} == made


def test_the_whole_loop_runs_through_the_gateway(demo: str) -> None:
    assert "flight_delay: version 2 serves" in demo
    assert '"prediction_id"' in demo


def test_what_a_step_did_is_known_with_its_commit(stack: Stack, demo: str) -> None:
    runs = json.loads(stack.platform("runs", "list", "--json", check=True).stdout)
    commits = {run["commit"].removesuffix("-dirty") for run in runs}
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=stack.checkout, capture_output=True, text=True, check=True)
    assert commits == {head.stdout.strip()}


def commit_of_a_step(engine: Engine, stack: Stack) -> str:
    """What a task of Airflow's would say that it runs."""
    words = ["compose/with-secrets.sh", "/opt/envs/pipelines/bin/python", "-c"]
    program = "from pipelines.environment import Environment; print(Environment.from_env().commit)"
    return engine.run("exec", containers(engine, stack)["airflow-scheduler"]["Id"], *words, program).stdout.strip()


def test_a_step_knows_whether_its_commit_is_still_what_it_runs(stack: Stack, engine: Engine) -> None:
    at_first = commit_of_a_step(engine, stack)
    note = stack.checkout / "projects" / "flight_delay" / "note.txt"
    try:
        note.write_text("nobody has committed this")
        assert commit_of_a_step(engine, stack) == f"{at_first.removesuffix('-dirty')}-dirty"
        assert "nothing was changed" in stack.platform("up", check=True).stderr, "no service is started again for it"
        assert commit_of_a_step(engine, stack) == at_first
    finally:
        note.unlink()
        stack.platform("up", check=True)


def test_a_person_writes_files_and_a_new_project_is_taken_up(stack: Stack, demo: str, tmp_path: Path) -> None:
    """What steps in containers write for their caller is the caller's."""
    scored, name = tmp_path / "scored.parquet", "engine_test"
    stack.platform("score", "flight_delay", "--from", "marts.flight_delay_features", "--to", str(scored), check=True)
    assert scored.stat().st_uid == os.geteuid()
    written = [stack.checkout / "projects" / name, stack.checkout / "dbt_project" / "models" / name]
    try:
        stack.platform("new", name, "--from", "marts.flight_delay_features", check=True)
        assert {path.stat().st_uid for path in written} == {os.geteuid()}
        assert "dbt-manifest" in stack.platform("up", check=True).stderr, "it is what Airflow takes the models from"
        checked = json.loads(stack.platform("check", name, "--json", check=True).stdout)
        assert checked["passed"] is True
    finally:
        for path in written:
            shutil.rmtree(path, ignore_errors=True)
        stack.platform("up", check=True)


def test_a_service_that_dies_is_started_again(stack: Stack, demo: str, engine: Engine) -> None:
    for service in ("serving", "postgres"):
        before = containers(engine, stack)[service]["State"]
        os.kill(before["Pid"], signal.SIGKILL)
        awaited(
            lambda service=service, pid=before["Pid"]: (  # type: ignore[misc]
                containers(engine, stack)[service]["State"]["Running"]
                and containers(engine, stack)[service]["State"]["Pid"] != pid
            ),
            f"{service} runs again",
        )
    awaited(lambda: healthy(stack), "everything is healthy again")
    answer = httpx.get(
        f"{stack.credentials('serving')['url']}/models",
        headers={"Authorization": f"Bearer {stack.credentials('serving')['token']}"},
    )
    assert [entry["name"] for entry in answer.raise_for_status().json()["models"]] == ["flight_delay"]


def answer_of(stack: Stack, authority: str, host: str, path: str) -> str:
    """What the gateway answers over TLS to whoever trusts `authority` (PEM) alone."""
    settings = load_settings(Home(stack.home))
    context = ssl.create_default_context(cadata=authority)
    with (
        socket.create_connection(("127.0.0.1", int(settings["GATEWAY_HTTPS_PORT"])), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        secure.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return secure.makefile("rb").read().decode(errors="replace")


def authority_of(stack: Stack, engine: Engine) -> str:
    """The certificate that the gateway's own stand or fall with."""
    settings = load_settings(Home(stack.home))
    if settings["GATEWAY_TLS"] == "files":
        return Path(settings["GATEWAY_CERTIFICATE"]).read_text()
    file = "/data/gateway/caddy/pki/authorities/local/root.crt"
    return engine.run("exec", containers(engine, stack)["gateway"]["Id"], "cat", file).stdout


def test_names_are_served_with_tls_and_nothing_else_is_published(stack: Stack, engine: Engine) -> None:
    settings = load_settings(Home(stack.home))
    domain, authority = settings["PLATFORM_DOMAIN"], authority_of(stack, engine)
    for name, path, status in (
        ("mlflow", "/health", 200),
        ("airflow", "/api/v2/monitor/health", 200),
        ("serving", "/models", 401),
    ):
        answer = answer_of(stack, authority, f"{name}.{domain}", path)
        assert answer.startswith(f"HTTP/1.1 {status} "), f"{name}: {answer[:200]}"
        headers = answer.partition("\r\n\r\n")[0].lower()
        assert "strict-transport-security: max-age=" in headers
        assert "x-content-type-options: nosniff" in headers
    sign_in = answer_of(stack, authority, f"airflow.{domain}", "/api/v2/auth/login")
    assert f"location: {stack.status()['airflow-api-server']['page']}/auth/login" in sign_in.lower(), sign_in[:500]
    plain = httpx.get(f"http://127.0.0.1:{settings['GATEWAY_HTTP_PORT']}/x", headers={"Host": f"mlflow.{domain}"})
    assert plain.headers["location"] == f"https://mlflow.{domain}:{settings['GATEWAY_HTTPS_PORT']}/x"
    found = containers(engine, stack)
    published = {name for name, entry in found.items() if any((entry["NetworkSettings"]["Ports"] or {}).values())}
    assert published == {"gateway"}


def test_no_container_shows_a_secret_or_may_more_than_it_must(stack: Stack, engine: Engine) -> None:
    secrets = [line.partition("=")[2] for line in (stack.home / "secrets.env").read_text().splitlines()[1:]]
    for name, entry in containers(engine, stack).items():
        shown = json.dumps(entry)
        assert not [secret for secret in secrets if secret and secret in shown], name
        assert entry["HostConfig"]["CapDrop"] == ["ALL"], name
        assert entry["HostConfig"]["ReadonlyRootfs"], name
        assert entry["Config"]["User"] not in ("", "root", "0"), name


def test_what_has_no_way_out_has_none(stack: Stack, engine: Engine) -> None:
    """PostgreSQL reaches no address outside of its networks; the steps do."""
    project = project_name(Home(stack.home))
    attached = containers(engine, stack)["postgres"]["NetworkSettings"]["Networks"]
    assert set(attached) == {f"{project}_data", f"{project}_people"}
    internal = engine.run("network", "inspect", *attached, "--format", "{{.Internal}}").stdout.split()
    assert internal == ["true", "true"]


def test_a_restart_of_the_whole_with_a_domain_and_certificates_of_the_owners_keeps_everything(
    stack: Stack, demo: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("certificates")
    certificate, key = directory / "one.pem", directory / "one.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", "/CN=ml.example.com", "-addext", "subjectAltName=DNS:*.ml.example.com"]
    subprocess.run([*words, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    stack.platform("down", check=True)
    assert not any(entry["healthy"] for entry in stack.status().values())
    changes = {"PLATFORM_DOMAIN": "ml.example.com", "GATEWAY_TLS": "files"}
    changes |= {"GATEWAY_CERTIFICATE": str(certificate), "GATEWAY_KEY": str(key)}
    options = [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
    print(stack.platform("up", *options, check=True).stderr)
    assert answer_of(stack, certificate.read_text(), "mlflow.ml.example.com", "/health").startswith("HTTP/1.1 200 ")
    port = load_settings(Home(stack.home))["GATEWAY_HTTPS_PORT"]
    assert stack.status()["mlflow"]["page"] == f"https://mlflow.ml.example.com:{port}"
    versions = json.loads(stack.platform("models", "list", "flight_delay", "--json", check=True).stdout)
    assert [version["version"] for version in versions] == [2, 1]
    assert versions[0]["aliases"] == ["champion"]


def test_an_image_of_the_stack_is_there_or_left_out_by_name(stack: Stack, engine: Engine) -> None:
    listed = json.loads(stack.platform("images", "list", "--json", check=True).stdout)
    missing = {row["image"].partition(":")[0] for row in listed if row["from"] == "missing"}
    assert missing <= {"grafana/grafana", "ghcr.io/coder/coder", "haproxy", "mlops-workspace"}
    assert len(listed) == len(stack_images(load_settings(Home(stack.home))))


def test_a_volume_of_an_older_postgresql_is_refused_and_left_as_it_is(stack: Stack, engine: Engine) -> None:
    service = containers(engine, stack)["postgres"]
    volume = engine.run("volume", "create").stdout.strip()
    try:
        script = (stack.checkout / "compose/postgres/same-version.sh").read_text()
        older = "mkdir -p /var/lib/postgresql/17/docker && echo 17 >/var/lib/postgresql/17/docker/PG_VERSION"
        words = ["run", "--rm", f"--volume={volume}:/var/lib/postgresql", service["Config"]["Image"]]
        engine.run(*words, "sh", "-c", older)
        refused = engine.run(*words, "sh", "-c", script, "sh", "postgres", check=False)
        assert refused.returncode == 1
        assert "the volume holds the data of PostgreSQL 17, and this is PostgreSQL 18" in refused.stderr
        assert engine.run(*words, "ls", "/var/lib/postgresql").stdout.split() == ["17"]
    finally:
        engine.run("volume", "rm", volume)
