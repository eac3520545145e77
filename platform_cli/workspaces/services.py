"""A workspace as services of the stack: one that makes its home ready, JupyterLab, and VS Code. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from platform_cli.home import Home
from platform_cli.local.spec import SYSTEM_PATH
from platform_cli.stack.model import Condition, Healthcheck, Local, Service, Stack
from platform_cli.stack.secrets import Secret, Text
from platform_cli.workspaces.model import Workspace

JUPYTERLAB, VSCODE = ENVIRONMENTS = ("workspace", "code-server")
SCRIPTS = "compose/workspace/bin"
# what notebooks talk to is stopped after them
USED = ("mlflow", "postgres", "serving")
PATIENCE_SECONDS = 90.0


def service_names(name: str) -> tuple[str, str, str]:
    """What the services of a workspace are called: the one that makes the home ready, JupyterLab, VS Code."""
    return f"workspace-{name}", f"jupyterlab-{name}", f"vscode-{name}"


def with_workspaces(stack: Stack, workspaces: Iterable[Workspace], home: Home) -> Stack:
    """The stack with the services of those workspaces that are on, and with the secrets of all, to be redacted."""
    services, secrets = dict(stack.services), dict(stack.secrets)
    for workspace in workspaces:
        known = {**workspace.environment, "token": workspace.token}
        secrets |= {f"{workspace.name} {key}": value for key, value in known.items() if isinstance(value, Secret)}
        if workspace.on:
            services |= {service.name: service for service in services_of(workspace, stack, home)}
    return replace(stack, services=services, secrets=secrets)


def without_workspace(stack: Stack, name: str) -> Stack:
    """The stack without the services of a workspace."""
    own = service_names(name)
    return replace(stack, services={key: service for key, service in stack.services.items() if key not in own})


def services_of(workspace: Workspace, stack: Stack, home: Home) -> list[Service]:
    """The services of one workspace, in the order of their names in `service_names`."""
    ready, jupyterlab, vscode = service_names(workspace.name)
    directory = home.workspaces / workspace.name
    environment: dict[str, Text] = {
        **workspace.environment,
        "HOME": str(directory),
        "USER": workspace.name,
        "SHELL": "/bin/bash",
        # sockets, whose paths must be short
        "TMPDIR": "/tmp",  # noqa: S108
        "PATH": ":".join([*(f"{home.envs / name}/bin" for name in ENVIRONMENTS), SYSTEM_PATH]),
        # that of the checkout is the services'
        "PYTHONPATH": "",
    }
    local = Local(env=JUPYTERLAB, user=stack.settings["WORKSPACE_USER"])
    return [
        _service(
            ready,
            f"{SCRIPTS}/workspace-home",
            environment,
            depends_on=dict.fromkeys(USED, Condition.HEALTHY),
            local=replace(
                local, data=(directory,), inputs=("compose/workspace",), outputs=(directory / ".venv/bin/python",)
            ),
        ),
        _service(
            jupyterlab,
            f"{SCRIPTS}/workspace-jupyter",
            environment | {"JUPYTER_PORT": str(workspace.jupyter_port), "JUPYTER_TOKEN": workspace.token},
            depends_on={ready: Condition.COMPLETED},
            local=local,
            url=workspace.jupyter_url,
            health="/api",
            credentials={"token": workspace.token},
        ),
        _service(
            vscode,
            f"{SCRIPTS}/workspace-vscode",
            environment | {"VSCODE_PORT": str(workspace.vscode_port), "PASSWORD": workspace.token},
            depends_on={ready: Condition.COMPLETED},
            local=replace(local, env=VSCODE, optional=True),
            url=workspace.vscode_url,
            health="/healthz",
            credentials={"password": workspace.token},
        ),
    ]


def _service(
    name: str,
    script: str,
    environment: Mapping[str, Text],
    *,
    depends_on: Mapping[str, Condition],
    local: Local,
    url: str = "",
    health: str = "",
    credentials: Mapping[str, Text] | None = None,
) -> Service:
    """A service of a workspace; without a health check, which is a path below its address, it runs once."""
    test = ("wget", "-q", "-O", "/dev/null", f"{url}{health}")
    return Service(
        name=name,
        component="workspace",
        command=(script,),
        environment=environment,
        depends_on=depends_on,
        healthcheck=Healthcheck(test, timeout=5.0, start_period=PATIENCE_SECONDS) if health else None,
        configs=(),
        url=url,
        page="",
        credentials=credentials or {},
        one_shot=not health,
        profiles=(),
        stop_grace=10.0,
        local=local,
    )
