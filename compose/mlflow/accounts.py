"""MLflow's own authentication, and rules on top. `basic_auth.ini` names `authenticate` in its settings.

Some accounts only read: MLflow lets every account create experiments and models, which the model server, Prometheus
and people who only look have no business to do. What a scientist registered would be theirs to promote: the registry
is written by the platform's own account and by engineers. Every account may see the metrics: MLflow knows no permission
for them, so it refuses all but administrators. And the model server may write one tag, by which it tells on a version
why it does not serve it: MLflow has no permission for a single tag, and EDIT would let it move aliases.
"""

import json
from typing import Any

from flask import Response, current_app, g, make_response, request
from mlflow.server.auth import auth_config, authenticate_request_basic_auth, store
from werkzeug.datastructures import Authorization

from compose.mlflow.roles import DISABLED, PROGRAMS, SCIENTIST, SERVICES, VIEWER
from contract import SERVING_STATUS_TAG

READERS = frozenset({"serving", "prometheus"})
SERVER = "serving"
METRICS = "/metrics"
OWN_PASSWORD = ("PATCH", "/users/update-password")
"""MLflow itself sees to it that this is the caller's own, unless it administers."""
READING_POSTS = (
    "/search",
    "/search-datasets",
    "/graphql",
    "/get-latest-versions",
    "/batchGetInfos",
    "/traces/metrics",
    "/calculate-filter-correlation",
    "/presigned-download-url",
    "/ui-telemetry",
)
"""The ends of paths that are asked by POST and change nothing."""
REGISTRY = ("/mlflow/registered-models/", "/mlflow/model-versions/")
TAG_CALLS = {
    ("POST", "/api/2.0/mlflow/model-versions/set-tag"): frozenset({"name", "version", "key", "value"}),
    ("DELETE", "/api/2.0/mlflow/model-versions/delete-tag"): frozenset({"name", "version", "key"}),
}
"""The fields of the bodies."""


def reads(method: str, path: str) -> bool:
    """Whether a call only reads."""
    return method in {"GET", "HEAD", "OPTIONS"} or (method == "POST" and path.endswith(READING_POSTS))


def refusal(roles: frozenset[str], method: str, path: str) -> str | None:
    """Why somebody with these roles may not make a call; None if it is for MLflow to say."""
    if DISABLED in roles:
        return "this account is disabled"
    if reads(method, path):
        return None
    if VIEWER in roles and not (method == OWN_PASSWORD[0] and path.endswith(OWN_PASSWORD[1])):
        return "a viewer may only read"
    if SCIENTIST in roles and any(part in path for part in REGISTRY):
        return "a scientist may not change the registry: the pipeline registers and promotes, and engineers do"
    return None


def writes_status(method: str, path: str, body: bytes) -> bool:
    """Whether a call sets or takes away the tag by which the model server tells its status, and nothing else.

    The body has to be what MLflow's client sends, each field once: what MLflow would read in another way than it is
    read here (a repeated key, `jsonName` spellings, JSON in a string) is refused.
    """
    fields = TAG_CALLS.get((method, path))
    if fields is None:
        return False
    try:
        pairs = json.loads(body, object_pairs_hook=tuple)
        names = sorted(name for name, _ in pairs)
    except (ValueError, TypeError):
        return False
    return names == sorted(fields) and ("key", SERVING_STATUS_TAG) in pairs


def authenticate() -> Authorization | Response:
    """The caller's authorization, or the answer in its place."""
    authorization = authenticate_request_basic_auth()
    if isinstance(authorization, Response):
        return authorization
    if request.path == METRICS and request.endpoint is not None:
        return make_response(current_app.view_functions[request.endpoint]())
    if authorization.username in SERVICES:
        return _service(authorization)
    person = str(authorization.username).removesuffix(PROGRAMS)
    reason = refusal(roles_of(person), request.method, request.path)
    if reason is not None:
        return make_response(reason, 403)
    return authorization if person == authorization.username else _as(person)


def roles_of(person: str) -> frozenset[str]:
    """The names of the roles that a person has; MLflow asks for the caller many times in one request."""
    if "platform_roles" not in g:
        g.platform_roles = frozenset(role.name for role in store.list_user_roles(store.get_user(person).id))
    return frozenset(g.platform_roles)


def _service(authorization: Authorization) -> Authorization | Response:
    if authorization.username == SERVER and writes_status(request.method, request.path, request.get_data()):
        # past MLflow's own check of permissions, for this one call
        return _as(str(auth_config.admin_username))
    if authorization.username in READERS and not reads(request.method, request.path):
        return make_response(f"the account {authorization.username} may only read", 403)
    return authorization


def _as(username: str) -> Any:
    """The authorization of a caller who was authenticated, under another name."""
    return Authorization("basic", {"username": username, "password": None})
