"""The gateway's configuration, as the real Caddy understands it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from platform_cli.home import Home
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Runtime, Stack
from platform_cli.stack.secrets import reveal

CADDY = Path(sys.executable).with_name("caddy")
DOMAIN = "ml.example.com"

Config = dict[str, Any]


def stack_with(home: Home, **settings: str) -> Stack:
    lines = [f"{key}={value}\n" for key, value in {"PLATFORM_DOMAIN": DOMAIN, **settings}.items()]
    home.settings_file.write_text("".join(lines))
    return load_stack(home, create_secrets=True, runtime=Runtime.DOCKER)


def adapted(stack: Stack) -> Config:
    (caddyfile,) = stack.services["gateway"].configs
    words = [CADDY, "adapt", "--adapter", "caddyfile", "--config", "-"]
    done = subprocess.run(words, input=reveal(caddyfile.content), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    config: Config = json.loads(done.stdout)
    return config


def handlers(node: object) -> Iterator[Config]:
    """Every handler below a node."""
    if isinstance(node, dict):
        if "handler" in node:
            yield node
        for value in node.values():
            yield from handlers(value)
    if isinstance(node, list):
        for value in node:
            yield from handlers(value)


def routes(config: Config) -> dict[str, Config]:
    """Name → the route of it, of those that are served with TLS."""
    (server,) = (server for server in config["apps"]["http"]["servers"].values() if ":10443" in server["listen"])
    return {name: route for route in server["routes"] for match in route["match"] for name in match["host"]}


def issuers(config: Config) -> dict[str, str]:
    """Name → who certifies it; those whose certificate is loaded from a file are left out."""
    policies = config["apps"]["tls"].get("automation", {}).get("policies", [])
    return {name: policy["issuers"][0]["module"] for policy in policies for name in policy.get("subjects", [])}


@pytest.mark.parametrize("tls", ["internal", "acme", "files"])
def test_every_page_has_a_name_that_leads_to_its_service(home: Home, tls: str) -> None:
    stack = stack_with(home, GATEWAY_TLS=tls, GATEWAY_ACME_EMAIL="a@example.com")
    found = routes(adapted(stack))
    pages = {service.page.removeprefix("https://").partition(":")[0]: service for service in stack.services.values()}
    named = {page: service for page, service in pages.items() if page.endswith(DOMAIN)}
    assert set(found) == {*named, f"*.coder.{DOMAIN}"}
    for name, route in found.items():
        service = named[name.removeprefix("*.")]
        (proxy,) = (entry for entry in handlers(route) if entry["handler"] == "reverse_proxy")
        assert [upstream["dial"] for upstream in proxy["upstreams"]] == [
            f"{service.name}:{service.url.rpartition(':')[2]}"
        ]
        (headers,) = (entry["response"] for entry in handlers(route) if entry["handler"] == "headers")
        assert {"Strict-Transport-Security", "X-Content-Type-Options"} <= headers["set"].keys()


def test_names_that_are_not_known_beforehand_are_no_matter_for_lets_encrypt(home: Home) -> None:
    apps = f"*.coder.{DOMAIN}"
    certified = issuers(adapted(stack_with(home, GATEWAY_TLS="acme", GATEWAY_ACME_EMAIL="a@example.com")))
    assert (certified[f"mlflow.{DOMAIN}"], certified[apps]) == ("acme", "internal")
    certified = issuers(adapted(stack_with(home, GATEWAY_TLS="internal")))
    assert (certified[f"mlflow.{DOMAIN}"], certified[apps]) == ("internal", "internal")
    assert issuers(adapted(stack_with(home, GATEWAY_TLS="files"))) == {}


@pytest.mark.parametrize(("names", "told"), [("true", f"*.coder.{DOMAIN}"), ("false", "")])
def test_coder_is_told_the_name_that_the_gateway_has_for_it(home: Home, names: str, told: str) -> None:
    coder = stack_with(home, CODER_APP_NAMES=names, GATEWAY_HTTPS_PORT="443").services["coder"]
    assert coder.environment["CODER_ACCESS_URL"] == coder.page == f"https://coder.{DOMAIN}"
    assert coder.environment["CODER_WILDCARD_ACCESS_URL"] == told
