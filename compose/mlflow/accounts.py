"""MLflow's own authentication, and three rules on top. `basic_auth.ini` names `authenticate` in its settings.

Some accounts only read: MLflow lets every account create experiments and models, which the model server and Prometheus
have no business to do. Every account may see the metrics: MLflow knows no permission for them, so it refuses all
but administrators. And the model server may write one tag, by which it tells on a version why it does not serve it:
MLflow has no permission for a single tag, and EDIT would let it move aliases.
"""

import json
from typing import Any

from flask import Response, current_app, make_response, request
from mlflow.server.auth import auth_config, authenticate_request_basic_auth
from werkzeug.datastructures import Authorization

from contract import SERVING_STATUS_TAG

READERS = frozenset({"serving", "prometheus"})
SERVER = "serving"
METRICS = "/metrics"
TAG_CALLS = {
    ("POST", "/api/2.0/mlflow/model-versions/set-tag"): frozenset({"name", "version", "key", "value"}),
    ("DELETE", "/api/2.0/mlflow/model-versions/delete-tag"): frozenset({"name", "version", "key"}),
}
"""The fields of the bodies."""


def reads(method: str, path: str) -> bool:
    """Whether a call only reads: MLflow's searches are POST."""
    return method in {"GET", "HEAD", "OPTIONS"} or (method == "POST" and path.endswith("/search"))


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
    if authorization.username == SERVER and writes_status(request.method, request.path, request.get_data()):
        return _as_administrator()
    if authorization.username in READERS and not reads(request.method, request.path):
        return make_response(f"the account {authorization.username} may only read", 403)
    return authorization


def _as_administrator() -> Any:
    """Pass MLflow's own check of permissions, for the one call that `authenticate` found harmless."""
    return Authorization("basic", {"username": auth_config.admin_username, "password": None})
