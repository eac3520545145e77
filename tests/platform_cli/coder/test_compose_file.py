"""What the description of Coder's services must never lose."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from platform_cli.home import REPO

DOCUMENT: dict[str, Any] = yaml.safe_load((REPO / "compose" / "coder" / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]


def test_the_engines_socket_is_the_proxys_alone() -> None:
    assert [name for name, service in SERVICES.items() if "docker.sock" in str(service["volumes"])] == [
        "docker-socket-proxy"
    ]


def test_only_coder_reaches_the_proxy_and_the_proxy_reaches_nothing() -> None:
    proxy = SERVICES["docker-socket-proxy"]
    assert proxy["networks"] == ["docker-socket"]
    assert "ports" not in proxy
    assert DOCUMENT["networks"]["docker-socket"] == {"internal": True}
    assert [name for name, service in SERVICES.items() if "docker-socket" in service["networks"]] == [
        "docker-socket-proxy",
        "coder",
    ]


@pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))
def test_every_service_is_optional_and_for_containers_alone(service: dict[str, Any]) -> None:
    assert service["profiles"] == ["coder"]
    assert service["x-local"] is False
    assert service["mem_limit"] and service["cpus"] and service["pids_limit"]
    assert not service["image"].endswith(":latest") and ":" in service["image"]


def test_coder_tells_nobody_and_asks_nobody() -> None:
    environment = SERVICES["coder"]["environment"]
    assert environment["CODER_TELEMETRY_ENABLE"] == environment["CODER_UPDATE_CHECK"] == "false"
    assert environment["CODER_DERP_SERVER_STUN_ADDRESSES"] == "disable"
    assert environment["CODER_OAUTH2_GITHUB_DEFAULT_PROVIDER_ENABLE"] == "false"
    assert "direct" not in DOCUMENT["configs"]["coder-terraform"]["x-content"]
