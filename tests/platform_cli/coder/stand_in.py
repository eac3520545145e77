"""A stand-in for Coder's server: not Coder, but written from what is known of its HTTP API, since no Coder server can
be run where these tests are. It keeps state, asks for a token, and refuses what Coder refuses."""

from __future__ import annotations

import io
import json
import re
import tarfile
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

ORGANIZATION = "0f0f0f0f-0000-4000-8000-000000000001"
Answer = tuple[int, Any]


class Refusal(Exception):
    def __init__(self, status: int, message: str, **validations: str) -> None:
        body = {"message": message, "validations": [{"field": f, "detail": d} for f, d in validations.items()]}
        self.answer: Answer = (status, body)


@dataclass
class State:
    """All that the server knows, and the levers that a test pulls."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    files: dict[bytes, str] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    templates: dict[str, dict[str, Any]] = field(default_factory=dict)
    workspaces: dict[str, dict[str, Any]] = field(default_factory=dict)
    builds: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    now: float = 0.0
    """Seconds on the server's clock."""
    build_fails_with: str = ""
    """What Terraform says before the next builds fail; empty: they succeed."""

    @property
    def changes(self) -> list[tuple[str, str]]:
        return [(method, path) for method, path in self.requests if method != "GET"]


class Handler(BaseHTTPRequestHandler):
    """Routes are methods named after what they do, in `ROUTES` below."""

    state: State
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = url.path.removeprefix("/api/v2")
        self.state.requests.append((self.command, path))
        try:
            status, body = self._route(path, raw)
        except Refusal as refusal:
            status, body = refusal.answer
        content = b"" if status == 204 else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _route(self, path: str, raw: bytes) -> Answer:
        for method, pattern, name, is_open in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                self.me = "" if is_open else self._signed_in()
                self.raw = raw
                is_json = self.headers.get("Content-Type", "").startswith("application/json")
                self.body = json.loads(raw) if is_json else {}
                return getattr(self, name)(*match.groups())
        raise Refusal(404, "Route not found.")

    def _signed_in(self) -> str:
        username, expires = self.state.tokens.get(self.headers.get("Coder-Session-Token", ""), ("", 0.0))
        if not username or expires <= self.state.now or self.state.users[username]["status"] == "suspended":
            raise Refusal(401, "You are signed out or your session has expired. Please sign in again to continue.")
        return username

    def _token(self, username: str, seconds: float) -> str:
        token = uuid.uuid4().hex
        self.state.tokens[token] = (username, self.state.now + seconds)
        return token

    def _make_user(self, roles: list[str]) -> dict[str, Any]:
        password = self.body["password"]
        if len(password) > 64 or len(set(password)) < 10:
            raise Refusal(400, "Invalid password.", password="insecure password, try including more characters")
        username = self.body["username"]
        if username in self.state.users:
            raise Refusal(409, "A user with this username already exists.")
        user = {"id": str(uuid.uuid4()), "username": username, "email": self.body["email"], "status": "active"}
        self.state.users[username] = user | {"roles": [{"name": role, "display_name": role} for role in roles]}
        self.state.passwords[self.body["email"]] = password
        return self.state.users[username]

    # -- people

    def first_user(self) -> Answer:
        return (200, {"message": "ok"}) if self.state.users else (404, {"message": "There is no initial user."})

    def make_first_user(self) -> Answer:
        if self.state.users:
            raise Refusal(409, "The initial user has already been created.")
        assert self.body["trial"] is False
        user = self._make_user(["owner"])
        return 201, {"user_id": user["id"], "organization_id": ORGANIZATION}

    def login(self) -> Answer:
        if self.state.passwords.get(self.body["email"]) != self.body["password"]:
            raise Refusal(401, "Incorrect email or password.")
        username = next(name for name, user in self.state.users.items() if user["email"] == self.body["email"])
        if self.state.users[username]["status"] == "suspended":
            raise Refusal(401, "Your account is suspended. Contact an admin to reactivate your account.")
        return 201, {"session_token": self._token(username, 24 * 3600)}

    def make_token(self, user: str) -> Answer:
        assert (user, self.body["scope"]) == ("me", "all")
        return 201, {"key": self._token(self.me, self.body["lifetime"] / 1e9)}

    def myself(self) -> Answer:
        return 200, self.state.users[self.me]

    def find_users(self) -> Answer:
        found = [user for name, user in self.state.users.items() if self.query.get("q", "") in name]
        return 200, {"users": found, "count": len(found)}

    def make_user(self) -> Answer:
        wanted = {"login_type": "password", "user_status": "active", "organization_ids": [ORGANIZATION]}
        assert {key: self.body[key] for key in wanted} == wanted
        return 201, self._make_user([])

    def set_roles(self, username: str) -> Answer:
        unknown = set(self.body["roles"]) - {"owner", "user-admin", "template-admin", "auditor"}
        if unknown:
            raise Refusal(400, "One or more roles could not be assigned.", roles=f"invalid: {sorted(unknown)}")
        user = self.state.users[username]
        user["roles"] = [{"name": role, "display_name": role} for role in self.body["roles"]]
        return 200, user

    def set_password(self, username: str) -> Answer:
        email, password = self.state.users[username]["email"], self.body["password"]
        assert username != self.me, "one's own needs the old one too"
        if self.state.passwords[email] == password:
            raise Refusal(400, "New password cannot match old password.")
        self.state.passwords[email] = password
        self.state.tokens = {token: held for token, held in self.state.tokens.items() if held[0] != username}
        return 204, None

    def set_status(self, username: str, verb: str) -> Answer:
        self.state.users[username]["status"] = {"suspend": "suspended", "activate": "active"}[verb]
        return 200, self.state.users[username]

    # -- templates

    def organization(self) -> Answer:
        return 200, {"id": ORGANIZATION, "name": "coder"}

    def upload(self) -> Answer:
        assert self.headers["Content-Type"] == "application/x-tar"
        with tarfile.open(fileobj=io.BytesIO(self.raw)) as tar:
            assert "main.tf" in tar.getnames()
        assert self.raw[257:263] == b"ustar\0", "a USTAR"
        status = 200 if self.raw in self.state.files else 201
        return status, {"hash": self.state.files.setdefault(self.raw, str(uuid.uuid4()))}

    def make_version(self) -> Answer:
        if self.body["file_id"] not in self.state.files.values():
            raise Refusal(404, "File not found.")
        assert (self.body["storage_method"], self.body["provisioner"]) == ("file", "terraform")
        known = ["template_id", "message", "user_variable_values"]
        version = {key: self.body.get(key) for key in known} | {
            "id": str(uuid.uuid4()),
            "ahead": ["pending", "running"],
        }
        version["fails"] = self.state.build_fails_with
        self.state.versions[version["id"]] = version
        return 201, self._shown(version)

    def _shown(self, version: dict[str, Any]) -> dict[str, Any]:
        """The version; each look brings its build one step on."""
        failed = bool(version["fails"])
        status = version["ahead"].pop(0) if version["ahead"] else "failed" if failed else "succeeded"
        error = "terraform plan: exit status 1" if status == "failed" else None
        return {"id": version["id"], "message": version["message"], "job": {"status": status, "error": error}}

    def version(self, id: str) -> Answer:
        return 200, self._shown(self.state.versions[id])

    def version_logs(self, id: str) -> Answer:
        lines = ["Initializing the backend...", *self.state.versions[id]["fails"].splitlines()]
        stamp = {"created_at": "2026-11-21T10:00:00Z", "log_source": "provisioner", "log_level": "error"}
        return 200, [stamp | {"id": n, "stage": "Planning", "output": line} for n, line in enumerate(lines)]

    def template(self, name: str) -> Answer:
        if name not in self.state.templates:
            raise Refusal(404, "Resource not found or you do not have access to this resource")
        return 200, self.state.templates[name]

    def make_template(self) -> Answer:
        name, version = self.body["name"], self.state.versions[self.body["template_version_id"]]
        if name in self.state.templates:
            raise Refusal(409, f"Template with name {name!r} already exists.")
        template = {"id": str(uuid.uuid4()), "name": name, "active_version_id": version["id"]}
        self.state.templates[name] = template
        version["template_id"] = template["id"]
        return 201, template

    def activate_version(self, id: str) -> Answer:
        version = self.state.versions[self.body["id"]]
        if version["template_id"] != id or version["fails"]:
            raise Refusal(400, "The provided template version doesn't belong to the specified template.")
        next(t for t in self.state.templates.values() if t["id"] == id)["active_version_id"] = version["id"]
        return 200, {"message": "Updated the active template version!"}

    # -- workspaces

    def find_workspaces(self) -> Answer:
        owner = self.query.get("q", "").removeprefix("owner:")
        found = [entry for entry in self.state.workspaces.values() if owner in ("", entry["owner_name"])]
        return 200, {"workspaces": found, "count": len(found)}

    def workspace(self, owner: str, name: str) -> Answer:
        for entry in self.state.workspaces.values():
            if (entry["owner_name"], entry["name"]) == (owner, name):
                ahead = entry["ahead"]
                entry["latest_build"]["job"]["status"] = ahead.pop(0) if ahead else "succeeded"
                return 200, entry
        raise Refusal(404, "Resource not found or you do not have access to this resource")

    def make_workspace(self, owner: str) -> Answer:
        if not re.fullmatch(r"[a-zA-Z0-9-]{1,32}", self.body["name"]):
            raise Refusal(400, "Validation failed.", name="Validation failed for tag: username")
        entry = {"id": str(uuid.uuid4()), "name": self.body["name"], "owner_name": owner, "ahead": []}
        self.state.workspaces[entry["id"]] = entry
        self._build(entry, "start")
        return 201, entry

    def build(self, id: str) -> Answer:
        entry = self.state.workspaces[id]
        if entry["latest_build"]["job"]["status"] != "succeeded":
            raise Refusal(409, "A workspace build is already active.")
        self._build(entry, self.body["transition"])
        return 201, entry["latest_build"]

    def _build(self, entry: dict[str, Any], transition: str) -> None:
        parameters = {value["name"]: value["value"] for value in self.body.get("rich_parameter_values", [])}
        self.state.builds.append({"workspace": entry["name"], "transition": transition} | parameters)
        app = {"slug": "jupyter", "health": "healthy"}
        agent = {"status": "connected", "lifecycle_state": "ready", "apps": [app]}
        resources = [{"agents": [agent]}, {"type": "docker_volume"}] if transition == "start" else []
        entry["ahead"] = ["running"]
        entry["latest_build"] = {"transition": transition, "job": {"status": "pending"}, "resources": resources}


# method, path, what answers it, whether it is open to everybody
ROUTES = [
    ("GET", "/users/first", "first_user", True),
    ("POST", "/users/first", "make_first_user", True),
    ("POST", "/users/login", "login", True),
    ("GET", "/users/me", "myself", False),
    ("POST", "/users/([^/]+)/keys/tokens", "make_token", False),
    ("GET", "/users", "find_users", False),
    ("POST", "/users", "make_user", False),
    ("PUT", "/users/([^/]+)/roles", "set_roles", False),
    ("PUT", "/users/([^/]+)/password", "set_password", False),
    ("PUT", "/users/([^/]+)/status/(suspend|activate)", "set_status", False),
    ("GET", "/organizations/default", "organization", False),
    ("POST", "/files", "upload", False),
    ("POST", f"/organizations/{ORGANIZATION}/templateversions", "make_version", False),
    ("GET", "/templateversions/([^/]+)", "version", False),
    ("GET", "/templateversions/([^/]+)/logs", "version_logs", False),
    ("GET", f"/organizations/{ORGANIZATION}/templates/([^/]+)", "template", False),
    ("POST", f"/organizations/{ORGANIZATION}/templates", "make_template", False),
    ("PATCH", "/templates/([^/]+)/versions", "activate_version", False),
    ("GET", "/workspaces", "find_workspaces", False),
    ("GET", "/users/([^/]+)/workspace/([^/]+)", "workspace", False),
    ("POST", "/users/([^/]+)/workspaces", "make_workspace", False),
    ("POST", "/workspaces/([^/]+)/builds", "build", False),
]
