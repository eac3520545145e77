"""A stand-in for Grafana's server: not Grafana, but written from its documented HTTP API, since no Grafana can be run
where these tests are. It keeps state, asks for the password of an administrator, and refuses what Grafana refuses."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Any]


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        self.answer: Answer = (status, {"message": message})


def person(id: int, login: str, email: str, password: str) -> dict[str, Any]:
    """A user as the server has it; auto_assign_org_role is Viewer."""
    return {"id": id, "login": login, "email": email, "password": password, "role": "Viewer"} | {
        "isAdmin": False,
        "isDisabled": False,
        "sessions": 0,
    }


@dataclass
class State:
    """All that the server knows."""

    users: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def of(self, login: str) -> dict[str, Any]:
        return next(user for user in self.users if user["login"] == login)

    def lets_in(self, login: str, password: str) -> bool:
        user = self.of(login)
        return bool(user["password"] == password and not user["isDisabled"])


class Handler(BaseHTTPRequestHandler):
    """Routes are methods named after what they do, in `ROUTES` below."""

    state: State
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.body = json.loads(raw) if raw else None
        self.state.requests.append((self.command, url.path))
        try:
            status, body = self._route(url.path)
        except Refusal as refusal:
            status, body = refusal.answer
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_PATCH = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _route(self, path: str) -> Answer:
        _, _, credentials = self.headers.get("Authorization", "").partition(" ")
        login, _, password = base64.b64decode(credentials).decode().partition(":")
        if not any(user["login"] == login for user in self.state.users) or not self.state.lets_in(login, password):
            raise Refusal(401, "Invalid username or password")
        if not self.state.of(login)["isAdmin"]:
            raise Refusal(403, "You'll need additional permissions to perform this action.")
        for method, pattern, name in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == self.command:
                if match.groups():
                    self.user = self._user(int(match[1]))
                return getattr(self, name)()
        raise Refusal(404, "Not found")

    def _user(self, id: int) -> dict[str, Any]:
        for user in self.state.users:
            if user["id"] == id:
                return user
        raise Refusal(404, "user not found")

    def search(self) -> Answer:
        size, page = int(self.query["perpage"]), int(self.query["page"])
        shown = ("id", "login", "email", "isAdmin", "isDisabled")
        users = [{key: user[key] for key in shown} for user in self.state.users]
        return 200, users[size * (page - 1) : size * page]

    def members(self) -> Answer:
        shown = [{"orgId": 1, "userId": u["id"], "login": u["login"], "role": u["role"]} for u in self.state.users]
        return 200, shown

    def create(self) -> Answer:
        if len(self.body["password"]) < 4:
            raise Refusal(400, "Password is missing or too short")
        login, email = self.body["login"], self.body["email"]
        if any(login == user["login"] or email == user["email"] for user in self.state.users):
            raise Refusal(412, f"User with email '{email}' or username '{login}' already exists")
        assert self.body["OrgId"] == 1
        self.state.users.append(person(len(self.state.users) + 1, login, email, self.body["password"]))
        return 200, {"id": len(self.state.users), "message": "User created"}

    def set_role(self) -> Answer:
        if self.body["role"] not in ("Viewer", "Editor", "Admin"):
            raise Refusal(400, "Invalid role specified")
        self.user["role"] = self.body["role"]
        return 200, {"message": "Organization user updated"}

    def set_permissions(self) -> Answer:
        admins = [user["id"] for user in self.state.users if user["isAdmin"]]
        if not self.body["isGrafanaAdmin"] and admins == [self.user["id"]]:
            raise Refusal(400, "cannot remove last grafana admin")
        self.user["isAdmin"] = self.body["isGrafanaAdmin"]
        return 200, {"message": "User permissions updated"}

    def set_password(self) -> Answer:
        self.user["password"] = self.body["password"]
        return 200, {"message": "User password updated"}

    def sign_out(self) -> Answer:
        self.user["sessions"] = 0
        return 200, {"message": "User logged out"}

    def disable(self) -> Answer:
        self.user |= {"isDisabled": True, "sessions": 0}
        return 200, {"message": "User disabled"}

    def enable(self) -> Answer:
        self.user["isDisabled"] = False
        return 200, {"message": "User enabled"}


ROUTES = [
    ("GET", "/api/users", "search"),
    ("GET", "/api/orgs/1/users", "members"),
    ("PATCH", "/api/orgs/1/users/([0-9]+)", "set_role"),
    ("POST", "/api/admin/users", "create"),
    ("PUT", "/api/admin/users/([0-9]+)/permissions", "set_permissions"),
    ("PUT", "/api/admin/users/([0-9]+)/password", "set_password"),
    ("POST", "/api/admin/users/([0-9]+)/logout", "sign_out"),
    ("POST", "/api/admin/users/([0-9]+)/disable", "disable"),
    ("POST", "/api/admin/users/([0-9]+)/enable", "enable"),
]
