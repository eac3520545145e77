"""What no service of the stack may lose as a container: rules over the model that `docker compose` makes of the files.
Compose itself renders it; no engine is needed for that."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from platform_cli.docker import files
from platform_cli.home import PREFIX, REPO, Home
from platform_cli.stack.compose import load_stack
from platform_cli.stack.documents import ROOT_FILE
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.model import Runtime, Stack
from platform_cli.stack.secrets import reveal

COMPOSE = Path(sys.executable).with_name("docker-compose")
# upstream's images that name a user other than root themselves
OWN_USER = ("prom/", "haproxy:", "ghcr.io/coder/coder:", "grafana/")
SOCKET = "/var/run/docker.sock"

Model = dict[str, Any]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home(tmp_path_factory.mktemp("home"))
    made.make()
    return made


@pytest.fixture(scope="module")
def stack(home: Home) -> Stack:
    return load_stack(home, create_secrets=True, runtime=Runtime.DOCKER)


@pytest.fixture(scope="module")
def model(home: Home, stack: Stack) -> Model:
    files.write_files(stack, home)
    words = [f"--env-file={home.compose_env}", f"--file={ROOT_FILE}", "--profile=*", "config", "--format=json"]
    done = subprocess.run([COMPOSE, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    rendered: Model = json.loads(done.stdout)
    return rendered


@pytest.fixture(scope="module", params=list(yaml.safe_load(ROOT_FILE.read_text())["include"]))
def services(request: pytest.FixtureRequest, model: Model) -> Model:
    """The services of one file, as rendered."""
    names = yaml.safe_load((REPO / request.param).read_text()).get("services", {})
    return {name: model["services"][name] for name in names}


def test_every_service_of_the_files_is_in_the_model(model: Model, stack: Stack) -> None:
    assert set(model["services"]) == set(stack.services)


def test_nothing_can_be_gained_in_a_container(services: Model) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is True, name
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode"} & set(service), (
            name
        )


def test_no_service_is_root(services: Model) -> None:
    for name, service in services.items():
        if service["image"].startswith(f"{PREFIX}-"):
            lines = (REPO / service["build"]["dockerfile"]).read_text().splitlines()
            users = [line.split()[1] for line in lines if line.startswith("USER ")]
            assert users and users[-1] not in ("root", "0"), name
        else:
            assert service.get("user") or service["image"].startswith(OWN_USER), name


def test_every_service_has_limits_and_logs_that_end(services: Model) -> None:
    for name, service in services.items():
        assert int(service["mem_limit"]) > 0 and float(service["cpus"]) > 0 and service["pids_limit"] > 0, name
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name


def test_what_stays_is_started_again_and_has_a_health_check(services: Model) -> None:
    for name, service in services.items():
        assert service["restart"] in ("unless-stopped", "no"), name
        if service["restart"] == "unless-stopped":
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        for needed, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_started", f"{name} waits for {needed} only to have been started"


def test_images_are_pinned(services: Model) -> None:
    for name, service in services.items():
        if not service["image"].startswith(f"{PREFIX}-"):
            tag = service["image"].rpartition("/")[2].partition(":")[2]
            assert tag[:1].isdigit() or tag[:1] == "v", f"{name}: {service['image']}"


def test_the_machine_is_reached_through_files_that_cannot_be_written(services: Model) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind" and volume["source"] != SOCKET:
                assert volume.get("read_only"), f"{name} may write to {volume['source']}"
                assert Path(volume["source"]).exists(), f"{name}: {volume['source']} would be made as a directory"
    reach = [name for name, service in services.items() if SOCKET in str(service.get("volumes"))]
    assert reach in ([], ["docker-socket-proxy"])


def test_only_the_gateway_publishes_and_only_on_loopback_unless_told_otherwise(model: Model) -> None:
    published = {name: service["ports"] for name, service in model["services"].items() if service.get("ports")}
    assert set(published) == {"gateway"}
    assert {port["host_ip"] for port in published["gateway"]} == {"127.0.0.1"}


def test_state_is_in_a_network_without_a_way_out(model: Model) -> None:
    networks = model["networks"]
    assert networks["data"]["internal"] is True
    assert networks["services"]["internal"] is True
    assert networks["people"]["internal"] is True
    members = {
        network: {name for name, service in model["services"].items() if network in service.get("networks", {})}
        for network in networks
    }
    assert members["edge"] == {"gateway"}
    assert {"postgres", "seaweedfs"} <= members["data"]
    assert members["people"] == {"mlflow", "postgres", "serving", "workspace-image"}
    # none of these asks PostgreSQL or the object store for anything
    assert not {"gateway", "serving", "prometheus", "grafana"} & members["data"]
    assert "postgres" not in members["outside"] | members["edge"] | members["services"]
    assert not members.get("default"), "every service says which networks it is in"


def test_no_definition_shows_a_secret(model: Model, stack: Stack) -> None:
    for name, service in model["services"].items():
        shown = json.dumps({key: value for key, value in service.items() if not key.startswith("x-")})
        found = [secret for secret, value in stack.secrets.items() if reveal(value) and reveal(value) in shown]
        assert not found, f"{name} shows {found}"


def test_what_is_mounted_is_written_and_readable_for_containers_alone(model: Model, home: Home) -> None:
    for kind in ("configs", "secrets"):
        for entry in model[kind].values():
            file = Path(entry["file"])
            assert file.parent == home.rendered
            assert file.stat().st_mode & 0o777 == 0o444
    assert home.rendered.stat().st_mode & 0o777 == 0o700
    assert home.compose_env.stat().st_mode & 0o777 == 0o600


def test_containers_get_the_command_and_the_variables_that_processes_get(model: Model, stack: Stack) -> None:
    """What Compose renders is what the reader of the local runtime reads, with the same hosts and directories."""
    for name, service in stack.services.items():
        rendered = model["services"][name]
        if not service.local.command:
            words = [*(rendered.get("entrypoint") or []), *(rendered.get("command") or [])]
            assert words == [reveal(word) for word in service.command], name
        shown = {key: reveal(value) for key, value in service.environment.items() if key not in service.from_file}
        assert (rendered.get("environment") or {}) == shown, name


def test_the_runtimes_differ_in_hosts_and_directories_and_two_things_more() -> None:
    here, there = (read_env_file(REPO / "compose" / f"runtime.{runtime}.env") for runtime in Runtime)
    assert here.keys() == there.keys()
    assert [key for key in here if not key.endswith(("_HOST", "_DIR", "_REPO"))] == ["CHECKOUT_STATE", "CODER_SCRAPE"]


def test_what_only_processes_are_told_is_known_by_name(home: Home) -> None:
    services = load_stack(home, create_secrets=True).services.values()
    assert {service.name for service in services if service.local.command} == {"postgres"}
    assert {service.name for service in services if service.local.environment} == set()
