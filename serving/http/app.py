"""The ASGI application: the gate, then the data plane's routes, then the pages of the control plane."""

import logging
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import RequestError
from serving.http.routes import Match, Route, RouteTable, plain_error
from serving.http.wire import HttpRequest, HttpResponse
from serving.metrics import Metrics
from serving.plane.plane import Plane
from serving.protocols import batch, feedback, mlflow_scoring, open_inference, records

log = logging.getLogger(__name__)

ROUTES: tuple[Route, ...] = (
    *records.ROUTES,
    *feedback.ROUTES,
    *batch.ROUTES,
    *mlflow_scoring.ROUTES,
    *open_inference.ROUTES,
)


class DataPlane:
    """ASGI application that answers the data plane's routes and hands everything else on.

    It stands before FastAPI, since a framework's routing costs as much as all the rest of a prediction.
    """

    def __init__(self, plane: Plane, metrics: Metrics, other: ASGIApp, table: RouteTable) -> None:
        """Answer the routes of `table` with `plane`; what is none of them goes to `other`."""
        self._table = table
        self._plane = plane
        self._metrics = metrics
        self._other = other

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        try:
            match = self._table.find(scope["method"], scope["path"])
        except RequestError as error:
            await plain_error(error).send(send, [])
            return
        if match is None:
            await self._other(scope, receive, send)
        else:
            await self._answer(match, scope, receive, send)

    async def _answer(self, match: Match, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        request = HttpRequest(scope, receive, state["caller"], state["request_id"], state["started"])
        route = match.route
        status = 500
        try:
            answer = await _attempt(route.handler, route.error, self._plane, request, match.parameters)
            status = answer.status
            if request.model is not None:
                model = request.model
                state["log"] = {"model": model.name, "version": model.version, "role": model.role}
            await answer.send(send, [])
        finally:
            self._metrics.http(route.method, route.pattern, status)


async def _attempt(
    handler: Callable[..., Awaitable[HttpResponse]],
    render: Callable[[RequestError], HttpResponse],
    plane: Plane,
    request: HttpRequest,
    parameters: dict[str, str],
) -> HttpResponse:
    try:
        return await handler(plane, request, **parameters)
    except RequestError as error:
        return render(error)
