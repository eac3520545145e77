"""Looks at the machine and the settings before any container is touched, and says all that is wrong in one go."""

from __future__ import annotations

import re
import shutil
import ssl
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from platform_cli.docker.engine import Engine
from platform_cli.errors import PlatformError
from platform_cli.home import REPO
from platform_cli.local.processes import port_holders

MEGABYTE = 1 << 20
SHOWN = ("airbyte", "compose", "contract", "dags", "dbt_project", "pipelines", "projects", "serving")
"""What containers are shown of the checkout: mounted, or copied into their images."""
# RFC 1123, 2.1
_DOMAIN = re.compile(r"(?=.{1,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


def preflight(settings: Mapping[str, str], engine: Engine, ports: Mapping[str, int], *, running: bool) -> None:
    """Whether the stack can run in this engine.

    Args:
        ports: the ports that will be published, by their settings.
        running: whether the stack runs already, so that it holds these ports itself.

    Raises:
        PlatformError: with every finding.
    """
    findings = [*gateway_findings(settings), *_checkout_findings(), *_disk_findings(settings, engine)]
    if not running:
        findings += _port_findings(ports)
    if findings:
        listed = "\n".join(f"  - {finding}" for finding in findings)
        raise PlatformError(f"this machine is not ready; nothing was changed:\n{listed}")


def gateway_findings(settings: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the gateway's domain and certificates."""
    domain, tls = settings["PLATFORM_DOMAIN"], settings["GATEWAY_TLS"]
    if not _DOMAIN.fullmatch(domain):
        yield f"PLATFORM_DOMAIN={domain!r} is no domain: give one such as ml.example.com, without https:// and port"
    if tls == "acme":
        if domain == "localhost" or "." not in domain:
            yield f"GATEWAY_TLS=acme needs a public domain, and PLATFORM_DOMAIN is {domain}: nobody certifies that"
        if "@" not in settings["GATEWAY_ACME_EMAIL"]:
            yield "GATEWAY_TLS=acme needs GATEWAY_ACME_EMAIL, where warnings about the certificates go"
        if settings["CODER_APP_NAMES"] == "true":
            yield (
                f"CODER_APP_NAMES=true needs a certificate for *.coder.{domain}, which GATEWAY_TLS=acme cannot get: "
                "give one of your own by GATEWAY_TLS=files, or leave CODER_APP_NAMES=false"
            )
    if tls == "files":
        yield from _certificate_findings(settings["GATEWAY_CERTIFICATE"], settings["GATEWAY_KEY"])


def _certificate_findings(certificate: str, key: str) -> Iterator[str]:
    missing = False
    for setting, file in (("GATEWAY_CERTIFICATE", certificate), ("GATEWAY_KEY", key)):
        if not file:
            missing = True
            yield f"GATEWAY_TLS=files needs {setting}, the path of a PEM file"
        elif not Path(file).is_file():
            missing = True
            yield f"{setting}={file}: there is no such file"
    if not missing:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        except (ssl.SSLError, OSError) as error:
            yield f"GATEWAY_CERTIFICATE and GATEWAY_KEY are no pair that can be used: {error}"


def _checkout_findings() -> Iterator[str]:
    """Containers run as users of their own, who must be able to read what of the checkout they are shown."""
    unreadable = [file for part in SHOWN for file in sorted((REPO / part).rglob("*")) if _is_hidden(file)]
    if unreadable:
        yield (
            f"containers may not read {unreadable[0]} (and {len(unreadable) - 1} more): "
            f"chmod -R go+rX {' '.join(str(REPO / part) for part in SHOWN)}"
        )


def _is_hidden(file: Path) -> bool:
    """Whether another user may not read a file, or not look into a directory."""
    mode = file.lstat().st_mode
    needed = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
    return mode & needed != needed and "__pycache__" not in file.parts


def _disk_findings(settings: Mapping[str, str], engine: Engine) -> Iterator[str]:
    root, needed = engine.data_root, int(settings["PREFLIGHT_RUN_DISK_MB"])
    if root.exists():
        free = shutil.disk_usage(root).free // MEGABYTE
        if free < needed:
            yield (
                f"{free} MB of disk are free at {root}, where the engine keeps everything; {needed} MB are needed "
                "(PREFLIGHT_RUN_DISK_MB): free some (docker system prune), or move it (data-root in daemon.json)"
            )


def _port_findings(ports: Mapping[str, int]) -> Iterator[str]:
    keys = {port: key for key, port in ports.items()}
    for holder in port_holders(keys):
        key = keys[holder.port]
        yield f"port {holder.port} ({key}) is held by {holder}: end it, or `platform up --set {key}=PORT`"
