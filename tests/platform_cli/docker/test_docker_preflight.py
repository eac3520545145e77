from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import cast

import pytest

from platform_cli.docker import preflight as module
from platform_cli.docker.engine import Engine
from platform_cli.docker.preflight import gateway_findings, preflight
from platform_cli.errors import PlatformError
from platform_cli.home import Home
from platform_cli.stack.settings import load_settings


class _Engine:
    def __init__(self, root: Path) -> None:
        self.data_root = root


def engine(root: Path) -> Engine:
    return cast(Engine, _Engine(root))


@pytest.fixture
def settings(home: Home) -> dict[str, str]:
    return load_settings(home)


def pair(directory: Path, name: str) -> tuple[str, str]:
    """A certificate of its own, and its key."""
    certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    return str(certificate), str(key)


def test_the_defaults_are_fine(settings: dict[str, str], tmp_path: Path) -> None:
    preflight(settings, engine(tmp_path), {}, running=False)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"PLATFORM_DOMAIN": "https://ml.example.com"}, "is no domain"),
        ({"PLATFORM_DOMAIN": "ml.example.com:443"}, "is no domain"),
        ({"PLATFORM_DOMAIN": "ml_1.example.com"}, "is no domain"),
        ({"GATEWAY_TLS": "acme", "GATEWAY_ACME_EMAIL": "a@b.c"}, "needs a public domain"),
        ({"GATEWAY_TLS": "acme", "PLATFORM_DOMAIN": "ml.example.com"}, "needs GATEWAY_ACME_EMAIL"),
        ({"GATEWAY_TLS": "acme", "CODER_APP_NAMES": "true"}, "CODER_APP_NAMES=true needs a certificate for *.coder."),
        ({"GATEWAY_TLS": "files"}, "needs GATEWAY_CERTIFICATE"),
        ({"GATEWAY_TLS": "files", "GATEWAY_CERTIFICATE": "/nowhere", "GATEWAY_KEY": "/nowhere"}, "no such file"),
    ],
)
def test_a_wrong_domain_or_certificate_is_told(settings: dict[str, str], changes: dict[str, str], told: str) -> None:
    assert told in " ".join(gateway_findings(settings | changes))


def test_certificate_and_key_must_be_a_pair(settings: dict[str, str], tmp_path: Path) -> None:
    certificate, key = pair(tmp_path, "one")
    _, other = pair(tmp_path, "two")
    files = {"GATEWAY_TLS": "files", "GATEWAY_CERTIFICATE": certificate}
    assert list(gateway_findings(settings | files | {"GATEWAY_KEY": key})) == []
    assert "no pair" in " ".join(gateway_findings(settings | files | {"GATEWAY_KEY": other}))


def test_a_port_that_is_taken_is_told_unless_the_stack_itself_has_it(settings: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PlatformError, match=rf"port {port} \(MLFLOW_PORT\) is held by") as refusal:
            preflight(settings, engine(tmp_path), {"MLFLOW_PORT": port}, running=False)
        assert "platform up --set MLFLOW_PORT=" in refusal.value.what
        preflight(settings, engine(tmp_path), {"MLFLOW_PORT": port}, running=True)


def test_a_checkout_that_containers_cannot_read_is_told(
    settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REPO", tmp_path)
    hidden = tmp_path / "dags" / "own" / "dag.py"
    hidden.parent.mkdir(parents=True)
    hidden.touch(0o600)
    with pytest.raises(PlatformError, match=r"may not read \S+/dags/own/dag.py \(and 0 more\): chmod -R go\+rX "):
        preflight(settings, engine(tmp_path), {}, running=False)
    hidden.chmod(0o644)
    preflight(settings, engine(tmp_path), {}, running=False)


def test_a_full_disk_of_the_engine_is_told(settings: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="where the engine keeps everything"):
        preflight(settings | {"PREFLIGHT_RUN_DISK_MB": str(10**9)}, engine(tmp_path), {}, running=False)
