"""Coder's HTTP API (v2), as far as the platform needs it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from platform_cli.coder.model import (
    UNFINISHED,
    Template,
    User,
    Version,
    Workspace,
    read_user,
    read_version,
    read_workspace,
)
from platform_cli.errors import PlatformError
from platform_cli.stack.secrets import Secret, Text, redact, reveal

POLL_SECONDS = 0.5
BUILD_SECONDS = 600.0
TOKEN_LIFETIME_NS = 30 * 24 * 3600 * 10**9
HEADER = "Coder-Session-Token"


class Refused(PlatformError):
    """Coder answered with an error: its status, and what it says."""

    def __init__(self, status: int, message: str, *, where: str) -> None:
        super().__init__(f"Coder answered {status}: {message}", where=where, do="see `platform logs coder`")
        self.status = status


@dataclass
class Coder:
    """A client. Used as a context; `token` is what `login` or `create_token` gave."""

    url: str
    token: Secret | None = None
    _secrets: dict[str, Secret] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Coder:
        self._http = httpx.Client(base_url=f"{self.url.rstrip('/')}/api/v2", timeout=60, trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # -- signing in -------------------------------------------------------------------------------------------------

    def has_first_user(self) -> bool:
        """Whether anybody has an account."""
        return self._found("/users/first") is not None

    def create_first_user(self, username: str, email: str, password: Secret) -> None:
        """Make the first account, which owns everything."""
        body = {"username": username, "email": email, "name": "", "trial": False, "password": self._open(password)}
        self._send("POST", "/users/first", json=body)

    def login(self, email: str, password: Secret) -> None:
        """Sign in for this session."""
        answer = self._send("POST", "/users/login", json={"email": email, "password": self._open(password)})
        self.token = Secret(answer["session_token"])

    def signed_in(self) -> bool:
        """Whether the token is one that Coder accepts."""
        try:
            self._send("GET", "/users/me")
        except Refused as refused:
            if refused.status == httpx.codes.UNAUTHORIZED:
                return False
            raise
        return True

    def create_token(self, name: str) -> Secret:
        """A token of one's own that lasts 30 days."""
        body = {"token_name": name, "lifetime": TOKEN_LIFETIME_NS, "scope": "all"}
        return Secret(self._send("POST", "/users/me/keys/tokens", json=body)["key"])

    # -- people -----------------------------------------------------------------------------------------------------

    def organization(self) -> str:
        """The id of the one organization that everybody is in."""
        return str(self._send("GET", "/organizations/default")["id"])

    def users(self) -> list[User]:
        """Everybody who has an account."""
        return [read_user(entry) for entry in self._send("GET", "/users")["users"]]

    def create_user(self, username: str, email: str, password: Secret) -> User:
        """Make an account that signs in with a password."""
        body = {
            "username": username,
            "email": email,
            "name": "",
            "password": self._open(password),
            "login_type": "password",
            "user_status": "active",
            "organization_ids": [self.organization()],
        }
        return read_user(self._send("POST", "/users", json=body))

    def set_roles(self, username: str, roles: Sequence[str]) -> None:
        """Give a person these roles, and no others."""
        self._send("PUT", f"/users/{_part(username)}/roles", json={"roles": sorted(roles)})

    def set_password(self, username: str, password: Secret) -> None:
        """Set the password of somebody else; Coder ends the sessions that were opened with the one before."""
        self._send("PUT", f"/users/{_part(username)}/password", json={"password": self._open(password)})

    def suspend(self, username: str) -> None:
        """Let a person in no more; what is theirs stays."""
        self._send("PUT", f"/users/{_part(username)}/status/suspend")

    def activate(self, username: str) -> None:
        """Let a suspended person in again."""
        self._send("PUT", f"/users/{_part(username)}/status/activate")

    # -- templates --------------------------------------------------------------------------------------------------

    def template(self, name: str) -> Template | None:
        """The template of this name, if there is one."""
        body = self._found(f"/organizations/{self.organization()}/templates/{_part(name)}")
        return Template(body["id"], body["name"], body["active_version_id"]) if body else None

    def upload(self, archive: bytes) -> str:
        """Store a tar; the id of the file. The same content gives the same id."""
        headers = {"Content-Type": "application/x-tar"}
        return str(self._send("POST", "/files", content=archive, headers=headers)["hash"])

    def create_version(
        self, file: str, *, message: str, variables: Mapping[str, str], template: Template | None
    ) -> Version:
        """Begin to build a version of a template, or of one that does not exist yet."""
        body = {
            "message": message,
            "storage_method": "file",
            "file_id": file,
            "provisioner": "terraform",
            "tags": {},
            "user_variable_values": [{"name": name, "value": value} for name, value in sorted(variables.items())],
        }
        if template:
            body["template_id"] = template.id
        return read_version(self._send("POST", f"/organizations/{self.organization()}/templateversions", json=body))

    def version(self, id: str) -> Version:
        """A version as it is now."""
        return read_version(self._send("GET", f"/templateversions/{_part(id)}"))

    def await_version(self, version: Version, *, seconds: float = BUILD_SECONDS) -> Version:
        """The version when its build has ended, whichever way.

        Raises:
            PlatformError: it has not, in this time.
        """
        deadline = time.monotonic() + seconds
        while version.status in UNFINISHED:
            if time.monotonic() > deadline:
                raise PlatformError(
                    f"the template's build is still {version.status} after {seconds:.0f} s",
                    where=self.url,
                    do="see `platform logs coder`: is its provisioner busy, or without providers?",
                    detail="\n".join(self.log_of(version)),
                )
            time.sleep(POLL_SECONDS)
            version = self.version(version.id)
        return version

    def log_of(self, version: Version) -> list[str]:
        """The lines of a version's build, without what is secret."""
        lines = self._send("GET", f"/templateversions/{_part(version.id)}/logs") or []
        return [redact(line["output"], self._secrets) for line in lines]

    def create_template(self, name: str, display_name: str, description: str, version: Version) -> None:
        """Make a template of its first version."""
        body = {
            "name": name,
            "display_name": display_name,
            "description": description,
            "icon": "/icon/jupyter.svg",
            "template_version_id": version.id,
        }
        self._send("POST", f"/organizations/{self.organization()}/templates", json=body)

    def activate_version(self, template: Template, version: Version) -> None:
        """Let new workspaces be made from this version."""
        self._send("PATCH", f"/templates/{_part(template.id)}/versions", json={"id": version.id})

    # -- workspaces -------------------------------------------------------------------------------------------------

    def workspaces(self, owner: str = "") -> list[Workspace]:
        """All workspaces, or those of one person."""
        params = {"q": f"owner:{owner}"} if owner else {}
        return [read_workspace(entry) for entry in self._send("GET", "/workspaces", params=params)["workspaces"]]

    def workspace(self, owner: str, name: str) -> Workspace | None:
        """A person's workspace of this name, if there is one."""
        body = self._found(f"/users/{_part(owner)}/workspace/{_part(name)}")
        return read_workspace(body) if body else None

    def create_workspace(self, owner: str, name: str, template: Template, parameters: Mapping[str, Text]) -> Workspace:
        """Make a workspace for a person, and start it."""
        body = {"name": name, "template_id": template.id, "rich_parameter_values": _values(parameters)}
        return read_workspace(self._send("POST", f"/users/{_part(owner)}/workspaces", json=body))

    def build(self, workspace: Workspace, transition: str, parameters: Mapping[str, Text] | None = None) -> None:
        """Start, stop or delete a workspace."""
        body: dict[str, Any] = {"transition": transition}
        if parameters:
            body["rich_parameter_values"] = _values(parameters)
        self._send("POST", f"/workspaces/{_part(workspace.id)}/builds", json=body)

    def await_build(self, workspace: Workspace, *, seconds: float = BUILD_SECONDS) -> Workspace:
        """The workspace when its present build has ended.

        Raises:
            PlatformError: it has failed, or has not ended in this time.
        """
        deadline = time.monotonic() + seconds
        present = self.workspace(workspace.owner, workspace.name) or workspace
        while present.status in UNFINISHED and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            present = self.workspace(workspace.owner, workspace.name) or present
        if present.status != "succeeded":
            raise PlatformError(
                f"the {present.transition} of {present.owner}'s workspace {present.name} is {present.status}",
                where=self.url,
                do="its build log is on the workspace's page",
            )
        return present

    # -- HTTP -------------------------------------------------------------------------------------------------------

    def _open(self, secret: Secret) -> str:
        """The text of a secret that is about to be sent; from now on it is looked for in what is shown."""
        self.hide(secret)
        return secret.reveal()

    def hide(self, secret: Secret) -> None:
        """Show this secret in no message."""
        self._secrets[str(hash(secret))] = secret

    def _found(self, path: str) -> Any:
        """What is there, or None if Coder says that there is nothing."""
        try:
            return self._send("GET", path)
        except Refused as refused:
            if refused.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def _send(self, method: str, path: str, **options: Any) -> Any:
        headers = {**options.pop("headers", {})}
        if self.token:
            headers[HEADER] = self._open(self.token)
        try:
            answer = self._http.request(method, path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise PlatformError(
                f"Coder does not answer ({error})",
                where=self.url,
                do="see `platform status`; if it runs, check the address",
            ) from None
        if answer.is_redirect:
            raise PlatformError(
                f"Coder is somewhere else: {answer.headers.get('Location')}", where=self.url, do="use that address"
            )
        if not answer.is_success:
            raise Refused(answer.status_code, redact(_message(answer), self._secrets), where=f"{self.url}, {path}")
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise PlatformError(
                f"what answered {method} {path} is not Coder", where=self.url, do="check the address"
            ) from None


def _part(text: str) -> str:
    return quote(text, safe="")


def _values(parameters: Mapping[str, Text]) -> list[dict[str, str]]:
    return [{"name": name, "value": reveal(value)} for name, value in parameters.items()]


def _message(answer: httpx.Response) -> str:
    """What an error answer says, on one line."""
    try:
        body = answer.json()
        said = [body["message"], body.get("detail") or ""]
        said += [f"{entry['field']}: {entry['detail']}" for entry in body.get("validations") or []]
    except (ValueError, LookupError, TypeError, AttributeError):
        return answer.text[:300]
    return "; ".join(part for part in said if part)
