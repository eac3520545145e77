"""What the platform sets up in Coder: its first user, a token, the template. Safe to repeat."""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from platform_cli.coder.archive import digest_of, pack
from platform_cli.coder.client import Coder, Refused
from platform_cli.coder.model import Template
from platform_cli.errors import PlatformError
from platform_cli.home import REPO, Home
from platform_cli.stack.envfile import read_env_file
from platform_cli.stack.model import Stack
from platform_cli.stack.secrets import Secret, reveal, write_private

SERVICE = "coder"
ADMIN = "admin"
TEMPLATES = REPO / "coder_templates"
TEMPLATE = "data-science"
DISPLAY_NAME = "Data science"
DESCRIPTION = "JupyterLab, VS Code and a terminal, with MLflow, the warehouse and the model server at hand."
IMAGE = "mlops-workspace"
HOSTS_FILE = REPO / "compose" / "runtime.docker.env"
LOG_LINES = 40

Say = Callable[[str], None]


def is_part_of(stack: Stack) -> bool:
    """Whether the stack runs a Coder of its own."""
    return any(service.name == SERVICE for service in stack.running)


def provision(coder: Coder, stack: Stack, home: Home, say: Say) -> None:
    """Bring Coder to what the platform needs; says what it does.

    Args:
        coder: a client that is not signed in.

    Raises:
        PlatformError: Coder is away or refuses, or the template does not build (the version before stays active).
    """
    sign_in(coder, stack.settings["CODER_ADMIN_EMAIL"], stack.secrets["CODER_ADMIN_PASSWORD"], home, say)
    push_template(coder, TEMPLATES / TEMPLATE, template_variables(stack), say)


def token_file(home: Home) -> Path:
    """Where the token is kept, for its owner alone."""
    return home.state / "coder-token"


def sign_in(coder: Coder, email: str, password: Secret, home: Home, say: Say) -> None:
    """Sign in with the kept token; with the password, and a new token kept, where it is none or has expired. Makes the
    first user if there is nobody.

    Raises:
        PlatformError: Coder does not accept the password.
    """
    file = token_file(home)
    if not coder.has_first_user():
        coder.create_first_user(ADMIN, email, password)
        say(f"Coder's first user is {ADMIN} ({email})")
    elif file.exists():
        coder.token = Secret(file.read_text().strip())
        if coder.signed_in():
            return
        coder.token = None
    try:
        coder.login(email, password)
    except Refused as refused:
        if refused.status != httpx.codes.UNAUTHORIZED:
            raise
        raise PlatformError(
            f"Coder does not accept the password of {email}",
            where=f"{coder.url}, and CODER_ADMIN_PASSWORD in {home.secrets_file}",
            do=f"if it was changed in Coder, write it there; if it is lost: coder reset-password {ADMIN}",
        ) from None
    coder.token = coder.create_token(f"platform-{random.token_hex(4)}")
    write_private(file, coder.token.reveal())
    say("signed in to Coder, with a new token")


def push_template(coder: Coder, directory: Path, variables: Mapping[str, str], say: Say) -> None:
    """Have Coder make workspaces from this directory; a new version is made only if something changed.

    Raises:
        PlatformError: the new version does not build, with the end of its log; the one before stays active.
    """
    archive = pack(directory)
    mark = f"content {digest_of(archive, variables)}"
    template = coder.template(directory.name)
    if template and coder.version(template.active_version).message == mark:
        say(f"the template {directory.name} is up to date")
        return
    say(f"building the template {directory.name}")
    begun = coder.create_version(coder.upload(archive), message=mark, variables=variables, template=template)
    version = coder.await_version(begun)
    if version.status != "succeeded":
        raise PlatformError(
            f"the template {directory.name} does not build: {version.error or version.status}",
            where=str(directory),
            do="correct what its log above says; " + _what_stays(template),
            detail="\n".join(coder.log_of(version)[-LOG_LINES:]),
        )
    if template:
        coder.activate_version(template, version)
    else:
        coder.create_template(directory.name, DISPLAY_NAME, DESCRIPTION, version)
    say(f"the template {directory.name} has a new version")


def _what_stays(template: Template | None) -> str:
    return "workspaces are still made from the version before" if template else "there is no version before it"


def credentials_volumes(stack: Stack) -> str:
    """What the names of the volumes with people's credentials begin with; a person's name follows."""
    # the socket proxy lets workspaces have no volume whose name begins otherwise
    return f"coder-{reveal(stack.variables['COMPOSE_PROJECT_NAME'])}-credentials-"


def template_variables(stack: Stack) -> dict[str, str]:
    """What the template is told of the platform: networks and addresses as containers see them, images, and the owner's
    limits."""
    settings, hosts = stack.settings, read_env_file(HOSTS_FILE)
    version, project = (reveal(stack.variables[name]) for name in ("PLATFORM_VERSION", "COMPOSE_PROJECT_NAME"))
    return {
        "networks": f"{settings['CODER_WORKSPACE_NETWORK']},{project}_people",
        "credentials_volumes": credentials_volumes(stack),
        "agent_url": f"http://coder:{settings['CODER_PORT']}",
        "subdomain_apps": settings["CODER_APP_NAMES"],
        "images": settings["WORKSPACE_IMAGES"] or f"{IMAGE}:{version}",
        "max_cpus": settings["WORKSPACE_CPUS"],
        "max_memory_gb": settings["WORKSPACE_MEMORY_GB"],
        "gpu": settings["WORKSPACE_GPU"],
        "mlflow_url": f"http://{hosts['MLFLOW_HOST']}:{settings['MLFLOW_PORT']}",
        "serving_url": f"http://{hosts['SERVING_HOST']}:{settings['SERVING_PORT']}",
        "warehouse_host": hosts["POSTGRES_HOST"],
        "warehouse_port": settings["POSTGRES_PORT"],
    }
