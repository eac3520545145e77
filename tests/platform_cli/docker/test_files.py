from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from platform_cli.docker import files
from platform_cli.home import REPO, Home
from platform_cli.stack.compose import load_stack
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.model import Runtime, Stack
from platform_cli.stack.secrets import reveal

WITH_SECRETS = REPO / "compose" / "with-secrets.sh"


@pytest.fixture
def stack(home: Home) -> Stack:
    return load_stack(home, create_secrets=True, runtime=Runtime.DOCKER)


def test_a_secret_reaches_the_program_and_only_it(stack: Stack, home: Home) -> None:
    files.write_files(stack, home)
    written = (home.rendered / "mlflow.env").read_text()
    got = subprocess.run(
        ["sh", "-c", f"set -a; {written}\nexec printenv MLFLOW_BACKEND_STORE_URI"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    ).stdout.strip()
    assert got == reveal(stack.services["mlflow"].environment["MLFLOW_BACKEND_STORE_URI"])
    assert stack.secrets["POSTGRES_MLFLOW_PASSWORD"].reveal() not in (home.rendered / "serving.env").read_text()


def test_without_a_file_of_secrets_the_program_is_started_as_it_is() -> None:
    done = subprocess.run([WITH_SECRETS, "printf", "%s", "a b"], capture_output=True, text=True, check=True)
    assert done.stdout == "a b"


@pytest.mark.parametrize("value", ["plain", "it's", 'a "b" $c `d` \\e', ""])
def test_values_are_quoted_for_shell_and_compose(value: str) -> None:
    (line,) = files.variables_file({"NAME": value}).splitlines()[1:]
    name, _, quoted = line.partition("=")
    assert name == "NAME"
    assert quoted[0] == quoted[-1] == "'"
    assert quoted[1:-1].replace("\\'", "'") == value


def test_every_variable_of_the_compose_files_has_a_value(stack: Stack, home: Home) -> None:
    values = files.variables(stack, home)
    assert values["POSTGRES_HOST"] == "postgres"
    assert values["SERVING_CLIENT_KEY__SHA256"]
    assert values["PROMETHEUS_PASSWORD__BCRYPT"].startswith("$2b$")
    unset = {name for name, value in values.items() if not value and not name.startswith("ALERT_SMTP_")}
    assert unset == {"CODER_APP_DOMAIN", "DOCKER_SOCKET_GROUP", "GATEWAY_ACME_EMAIL"}


def test_a_file_that_is_mounted_stays_the_same_file(stack: Stack, home: Home) -> None:
    files.write_files(stack, home)
    gateway = home.rendered / "gateway"
    number = gateway.stat().st_ino
    other = replace(stack.services["gateway"].configs[0], content="changed")
    changed = replace(stack.services["gateway"], configs=(other,))
    files.write_files(replace(stack, services={**stack.services, "gateway": changed}), home)
    assert (gateway.read_text(), gateway.stat().st_ino) == ("changed", number)
    assert gateway.stat().st_mode & 0o777 == 0o444


def test_what_is_no_longer_mounted_is_removed(stack: Stack, home: Home) -> None:
    files.write_files(stack, home)
    (home.rendered / "gone.env").write_text("SECRET=x")
    files.write_files(stack, home)
    assert not (home.rendered / "gone.env").exists()
    files.remove_files(home)
    assert not home.rendered.exists()
    assert not home.compose_env.exists()


def test_the_owners_certificate_is_mounted_only_if_it_is_asked_for(stack: Stack, home: Home, tmp_path: Path) -> None:
    pem = tmp_path / "c.pem"
    pem.write_text("certificate")
    for tls, content in (("files", "certificate"), ("internal", "")):
        settings = {**stack.settings, "GATEWAY_CERTIFICATE": str(pem), "GATEWAY_TLS": tls}
        mounted = dict(files.mounted_files(replace(stack, settings=settings)))
        assert mounted["gateway-certificate"] == content


def test_machines_variables_are_added(stack: Stack, home: Home) -> None:
    files.write_files(stack, home, {"DOCKER_SOCKET_GROUP": "123"})
    assert read_env_file(home.compose_env)["DOCKER_SOCKET_GROUP"] == "123"
