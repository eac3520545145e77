"""MLflow's own authentication, and one rule on top: some accounts only read.

MLflow lets every account create experiments and models, which the model server and Prometheus have no business to do.
`basic_auth.ini` names `authenticate` as its `authorization_function`.
"""

from flask import Response, make_response, request
from mlflow.server.auth import authenticate_request_basic_auth
from werkzeug.datastructures import Authorization

READERS = frozenset({"serving", "prometheus"})


def reads(method: str, path: str) -> bool:
    """Whether a call only reads: MLflow's searches are POST."""
    return method in {"GET", "HEAD", "OPTIONS"} or (method == "POST" and path.endswith("/search"))


def authenticate() -> Authorization | Response:
    """The caller's authorization, or the refusal."""
    authorization = authenticate_request_basic_auth()
    if isinstance(authorization, Response) or authorization.username not in READERS:
        return authorization
    if reads(request.method, request.path):
        return authorization
    return make_response(f"the account {authorization.username} may only read", 403)
