from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from platform_cli.errors import PlatformError, UsageError
from platform_cli.home import Home
from platform_cli.stack import documents
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Condition, Runtime, Stack
from platform_cli.stack.secrets import Secret, reveal

COMPONENT = {
    "x-secrets": {"WEB_PASSWORD": "password"},
    "services": {
        "web": {
            "image": "web:1",
            "env_file": ["web.env"],
            "command": ["serve", "--port", "${MLFLOW_PORT}", 3],
            "environment": {"PORT": "${MLFLOW_PORT}"},
            "x-secret-environment": {"PASSWORD": "${WEB_PASSWORD}"},
            "depends_on": {"init": {"condition": "service_completed_successfully"}},
            "healthcheck": {"test": ["CMD", "true"], "interval": "500ms", "start_period": "1m30s", "retries": 2},
            "configs": [{"source": "conf", "target": "${CONFIG_DIR}/web.conf"}],
            "x-url": "http://127.0.0.1:${MLFLOW_PORT}",
            "x-name": "web",
            "x-credentials": {"token": "${WEB_PASSWORD}"},
            "x-local": {"env": "web"},
        },
        "init": {"command": ["true"], "restart": "no", "x-local": {"env": "web"}},
        "tool": {"profiles": ["tools"], "entrypoint": ["a"], "command": ["b"], "x-local": {"env": "web"}},
    },
    "configs": {"conf": {"file": "conf", "x-content": "port=${MLFLOW_PORT} password=${WEB_PASSWORD}"}},
}


@pytest.fixture
def read(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch):
    def load(document: dict, runtime: Runtime = Runtime.LOCAL) -> Stack:
        directory = tmp_path / "compose" / "web"
        directory.mkdir(parents=True)
        (directory / "compose.yml").write_text(yaml.safe_dump(document))
        (directory / "web.env").write_text("PORT=from the file\nOTHER=${S3_PORT}\n")
        (tmp_path / "docker-compose.yml").write_text("include: [compose/web/compose.yml]\n")
        monkeypatch.setattr(documents, "ROOT_FILE", tmp_path / "docker-compose.yml")
        return load_stack(home, create_secrets=True, runtime=runtime)

    return load


def changed(path: str, value: object) -> dict:
    """COMPONENT with one key set; the path's parts are separated by dots."""
    document = yaml.safe_load(yaml.safe_dump(COMPONENT))
    *parents, last = path.split(".")
    node = document
    for key in parents:
        node = node[key]
    node[last] = value
    return document


def test_a_service_is_read_whole(read) -> None:
    stack = read(COMPONENT)
    web = stack.services["web"]
    port = stack.settings["MLFLOW_PORT"]
    assert web.command == ("serve", "--port", port, "3")
    assert web.environment["PORT"] == port, "environment goes before env_file"
    assert web.environment["OTHER"] == stack.settings["S3_PORT"]
    assert web.environment["PASSWORD"] == stack.secrets["WEB_PASSWORD"]
    assert web.depends_on == {"init": Condition.COMPLETED}
    assert web.healthcheck is not None
    assert (web.healthcheck.test, web.healthcheck.interval, web.healthcheck.patience) == (("true",), 0.5, 91.0)
    assert web.from_file == {"PASSWORD"}
    assert (web.url, web.page) == (f"http://127.0.0.1:{port}",) * 2
    assert web.credentials == {"token": stack.secrets["WEB_PASSWORD"]}
    assert isinstance(web.configs[0].content, Secret)
    assert reveal(web.configs[0].content).startswith(f"port={port} password=")
    assert not web.one_shot
    assert stack.services["init"].one_shot
    assert stack.services["tool"].command == ("a", "b")
    assert [service.name for service in stack.running] == ["web"]


@pytest.mark.parametrize(
    ("settings", "page"),
    [
        ({}, "http://127.0.0.1:{port}"),
        ({"PLATFORM_DOMAIN": "ml.example.com"}, "https://web.ml.example.com:{https}"),
        ({"PLATFORM_DOMAIN": "ml.example.com", "GATEWAY_HTTPS_PORT": "443"}, "https://web.ml.example.com"),
    ],
)
def test_people_find_a_published_service_below_the_domain(read, home: Home, settings: dict, page: str) -> None:
    with home.settings_file.open("a") as file:
        file.writelines(f"{key}={value}\n" for key, value in settings.items())
    stack = read(changed("services.web.ports", ["127.0.0.1:${MLFLOW_PORT}:80"]), Runtime.DOCKER)
    port, https = stack.settings["MLFLOW_PORT"], stack.settings["GATEWAY_HTTPS_PORT"]
    web = stack.services["web"]
    assert web.page == reveal(stack.variables["WEB_PAGE"]) == page.format(port=port, https=https)
    assert web.url == f"http://127.0.0.1:{port}"


def test_what_no_container_publishes_has_no_address(read) -> None:
    document = changed("services.init.x-url", "postgresql://127.0.0.1:${POSTGRES_PORT}")
    assert read(document, Runtime.DOCKER).services["init"].url == ""


def test_the_stack_does_not_show_its_secrets(read) -> None:
    stack = read(COMPONENT)
    assert stack.secrets["WEB_PASSWORD"].reveal() not in repr(stack)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("services.web.x-local", {"env": "web", "comand": ["x"]}, "unknown key comand"),
        ("services.web.x-local", {}, "x-local.env is missing"),
        ("services.web.depends_on", {"nothing": {"condition": "service_healthy"}}, "depends on nothing"),
        ("services.web.command", "serve --port 1", "written as lists"),
        ("services.web.environment", {"A": "${NOT_THERE}"}, "NOT_THERE has no value"),
        ("services.web.configs", [{"source": "none", "target": "/x"}], "config none has no x-content"),
        ("services.web.healthcheck.interval", "5 seconds", "not a duration"),
        ("x-secrets", {"WEB_PASSWORD": "pin"}, "unknown kind 'pin'"),
        (
            "services.init",
            {"profiles": ["big"], "x-local": False},
            "web depends on init, which runs only in containers",
        ),
    ],
)
def test_a_wrong_compose_file_is_refused(read, path: str, value: object, words: str) -> None:
    with pytest.raises(PlatformError, match=words):
        read(changed(path, value))


def test_the_stack_of_this_checkout_is_valid(home: Home) -> None:
    stack = load_stack(home, create_secrets=True)
    assert {"postgres", "mlflow", "airflow-scheduler", "serving"} <= {service.name for service in stack.running}
    assert {"gateway", "docker-socket-proxy", "coder-providers", "coder"} <= set(stack.containers_only)
    for service in stack.running:
        assert service.healthcheck is not None, f"{service.name} has no health check"
    ports = {int(value) for key, value in stack.settings.items() if key.endswith("_PORT")}
    assert {int(service.url.split(":")[2].split("/")[0]) for service in stack.running if service.url} <= ports


def test_what_runs_only_in_containers_is_left_out_by_name(read) -> None:
    # nothing of it is read: not even variables that only the containers' runtime has
    stack = read(changed("services.big", {"profiles": ["big"], "command": ["${NOT_HERE}"], "x-local": False}))
    assert stack.containers_only == {"big": ("big",)}
    assert "big" not in stack.services
    with pytest.raises(UsageError, match="big runs only in containers") as refused:
        stack.service("big")
    assert "profile big" in refused.value.do


def test_what_does_not_outlive_a_dependency_says_so(read) -> None:
    services = COMPONENT["services"] | {"base": {"command": ["true"], "x-local": {"env": "web"}}}
    needs = {"init": {"condition": "service_completed_successfully"}, "base": {"restart": True}}
    services["web"] = services["web"] | {"depends_on": needs}
    service = read(COMPONENT | {"services": services}).service("web")
    assert service.depends_on["base"] is Condition.STARTED
    assert service.restarted_with == {"base"}
