"""MLflow's own authentication, and two rules on top. `basic_auth.ini` names `authenticate` in its settings.

Some accounts only read: MLflow lets every account create experiments and models, which the model server and Prometheus
have no business to do. And every account may see the metrics: MLflow knows no permission for them, so it refuses all
but administrators.
"""

from flask import Response, current_app, make_response, request
from mlflow.server.auth import authenticate_request_basic_auth
from werkzeug.datastructures import Authorization

READERS = frozenset({"serving", "prometheus"})
METRICS = "/metrics"


def reads(method: str, path: str) -> bool:
    """Whether a call only reads: MLflow's searches are POST."""
    return method in {"GET", "HEAD", "OPTIONS"} or (method == "POST" and path.endswith("/search"))


def authenticate() -> Authorization | Response:
    """The caller's authorization, or the answer in its place."""
    authorization = authenticate_request_basic_auth()
    if isinstance(authorization, Response):
        return authorization
    if request.path == METRICS and request.endpoint is not None:
        return make_response(current_app.view_functions[request.endpoint]())
    if authorization.username in READERS and not reads(request.method, request.path):
        return make_response(f"the account {authorization.username} may only read", 403)
    return authorization
