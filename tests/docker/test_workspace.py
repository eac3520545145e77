"""A workspace as Coder's template has it, on the stack's own network, used in a real browser.

There is no Coder here: its provisioner is stood in for by `docker run` with what `main.tf` says, its agent by the
template's start script in that container, and its proxy by a tunnel from this machine's loopback to the container's."""

from __future__ import annotations

import json
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page

from platform_cli.coder.credentials import put_credentials
from platform_cli.coder.provision import template_variables
from platform_cli.docker.engine import Engine
from platform_cli.home import REPO, Home
from platform_cli.stack.compose import load_stack
from platform_cli.stack.model import Runtime
from platform_cli.stack.model import Stack as StackAsRead
from tests.workspace_browser import (
    Workspace,
    answers,
    assert_logged,
    await_true,
    needs_browser,
    open_browser,
    use_the_warehouse,
    use_vs_code,
    use_welcome,
)
from tools.scratch import Stack

TEMPLATE = REPO / "coder_templates" / "data-science"
HOME = "/home/coder"
CHUNK = 65536
# standard input and output, to and from a port of the container's loopback
ENTRANCE = """\
import os, socket, sys, threading
port = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def send():
    while data := os.read(0, 65536):
        port.sendall(data)
    port.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := port.recv(65536):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""

# those of the names that it is given which lead somewhere
LOOK_UP = """\
import socket, sys
for name in sys.argv[1:]:
    try:
        socket.gethostbyname(name)
    except OSError:
        continue
    print(name)
"""

Visit = Callable[[str], Page]

pytestmark = pytest.mark.usefixtures("demo")


@dataclass(frozen=True)
class Container:
    """A workspace's container."""

    engine: Engine
    name: str

    def run(self, *words: str, check: bool = True) -> str:
        """What a command in it prints."""
        return self.engine.run("exec", self.name, *words, check=check, timeout=120).stdout

    def read(self, file: str) -> str | None:
        """A file of its home."""
        done = self.engine.run("exec", self.name, "cat", f"{HOME}/{file}", check=False)
        return done.stdout if done.returncode == 0 else None

    @contextmanager
    def tunnel(self, port: int) -> Iterator[str]:
        """An address of this machine's loopback that leads to a port of the container's."""
        command = [self.engine.docker, "exec", "-i", self.name, "python3", "-IS", "-c", ENTRANCE, str(port)]

        class Through(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
                with subprocess.Popen(command, bufsize=0, **pipes) as entrance:  # type: ignore[call-overload]
                    sending = threading.Thread(target=self._send, args=[entrance.stdin], daemon=True)
                    sending.start()
                    try:
                        while data := entrance.stdout.read(CHUNK):
                            self.request.sendall(data)
                    except OSError:  # the browser has hung up
                        pass
                    entrance.terminate()

            def _send(self, to: object) -> None:
                try:
                    while data := self.request.recv(CHUNK):
                        to.write(data)  # type: ignore[attr-defined]
                    to.close()  # type: ignore[attr-defined]
                except OSError:
                    pass

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Through) as server:
            server.daemon_threads = True
            server.block_on_close = False
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()


@pytest.fixture(scope="module")
def stack_as_read(stack: Stack) -> StackAsRead:
    """The stack as the command reads it, which the template is told of."""
    return load_stack(Home(stack.home), create_secrets=False, runtime=Runtime.DOCKER)


@pytest.fixture(scope="module")
def image(stack: Stack, stack_as_read: StackAsRead, engine: Engine) -> str:
    """The workspaces' image, which only its profile builds."""
    name = template_variables(stack_as_read)["images"]
    assert json.loads(engine.run("image", "inspect", name).stdout)[0]["Config"]["User"] == "1000"
    return name


@dataclass(frozen=True)
class Person:
    """Somebody, the path that Coder's proxy serves their JupyterLab under, and what their programs are given."""

    name: str
    prefix: str
    programs: dict[str, str]


@pytest.fixture(scope="module")
def ana(stack: Stack) -> Person:
    name = f"ana-{uuid4().hex[:6]}"
    stack.platform("users", "add", name, "--role", "scientist", check=True)
    programs = json.loads(stack.platform("users", "env", name, "--json", check=True).stdout)
    return Person(name, f"/@{name}/work/apps/jupyter", programs)


@pytest.fixture(scope="module")
def container(
    stack_as_read: StackAsRead,
    image: str,
    ana: Person,
    engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Container]:
    """The person's workspace, as they would make it in Coder themselves, after the template's start script has run in
    it; without a way to the internet, which the network of Coder would give."""
    told = template_variables(stack_as_read)
    put_credentials(engine, stack_as_read, ana.name, ana.programs)
    variables = {
        "JUPYTER_PREFIX": ana.prefix,
        "MLFLOW_TRACKING_URI": told["mlflow_url"],
        "SERVING_URL": told["serving_url"],
    }
    file = tmp_path_factory.mktemp("agent") / "environment"
    file.touch(mode=0o600)
    file.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
    made = Container(engine, f"coder-{ana.name}-work")
    network = next(name for name in told["networks"].split(",") if name.endswith("_people"))
    volume, credentials = f"{made.name}-home", told["credentials_volumes"] + ana.name
    try:
        engine.run(
            *("run", "--detach", "--init", f"--name={made.name}", f"--network={network}", f"--volume={volume}:{HOME}"),
            *("--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--shm-size=512m"),
            f"--volume={credentials}:/run/platform:ro",
            *("--cpus=2", "--memory=4g", image, "sleep", "infinity"),
        )
        script = (TEMPLATE / "startup.sh").read_text()
        engine.run("exec", f"--env-file={file}", made.name, "sh", "-c", script, timeout=120)
        yield made
    finally:
        print(made.run("sh", "-c", "tail -n 20 ~/.local/state/platform/*.log", check=False), file=sys.stderr)
        engine.run("rm", "--force", "--volumes", made.name, check=False)
        engine.run("volume", "rm", "--force", volume, credentials, check=False)


@pytest.fixture(scope="module")
def workspace(container: Container, ana: Person) -> Iterator[Workspace]:
    """Its apps, as Coder's proxy gives them."""
    with ExitStack() as tunnels:
        jupyterlab, vscode = (tunnels.enter_context(container.tunnel(port)) for port in (8888, 13337))
        await_true(lambda: answers(f"{jupyterlab}{ana.prefix}/api"), "JupyterLab answers below its prefix")
        await_true(lambda: answers(f"{vscode}/healthz"), "VS Code answers")
        yield Workspace(f"{jupyterlab}{ana.prefix}", vscode, "", container.read)


@pytest.fixture(scope="module")
def visit() -> Iterator[Visit]:
    with open_browser() as opened:
        yield opened


@needs_browser
def test_the_first_notebook_works_with_nothing_to_configure(
    workspace: Workspace, stack: Stack, ana: Person, visit: Visit, tmp_path: Path
) -> None:
    run_id = use_welcome(visit(workspace.page_of("welcome.ipynb")), tmp_path / "jupyterlab.png")
    assert_logged(run_id, stack.credentials("mlflow"), ana.name)


@needs_browser
def test_the_warehouse_is_read_and_not_written(workspace: Workspace, visit: Visit, tmp_path: Path) -> None:
    use_the_warehouse(workspace, visit, tmp_path / "warehouse.png")


@needs_browser
def test_vs_code_opens_the_home_and_its_terminal_knows_the_platform(
    workspace: Workspace, visit: Visit, tmp_path: Path
) -> None:
    use_vs_code(workspace, visit, tmp_path / "vscode.png")


def test_it_may_nothing_and_reaches_what_people_use_alone(container: Container) -> None:
    assert container.run("id", "-u").strip() == "1000"
    status = container.run("cat", "/proc/1/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (int(fields["CapEff"], 16), int(fields["CapBnd"], 16), fields["NoNewPrivs"].strip()) == (0, 0, "1")
    assert container.run("sh", "-c", "touch /opt/envs/x || echo refused").strip() == "refused"
    services = ("mlflow", "postgres", "serving", "seaweedfs", "airflow-api-server", "prometheus", "pushgateway")
    assert container.run("python3", "-c", LOOK_UP, *services).split() == ["mlflow", "postgres", "serving"]
