"""The data plane's routes, and the walk from a path to one of them."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from serving.errors import RequestError
from serving.http.wire import HttpResponse, json_answer


def plain_error(error: RequestError) -> HttpResponse:
    """Return the answer that tells a caller about `error`, in the shape of this server's own protocol."""
    answer = json_answer(error.body(), error.status)
    answer.headers = header_list(error)
    return answer


def header_list(error: RequestError) -> list[tuple[bytes, bytes]]:
    """Return the headers that an error brings, as ASGI wants them."""
    return [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]


@dataclass(frozen=True)
class Route:
    """One call of a protocol. `pattern` has `{name}` where the handler gets a parameter of that name; `scope` is what
    the caller's key has to allow, None for any key."""

    method: str
    pattern: str
    scope: str | None
    handler: Callable[..., Awaitable[HttpResponse]]
    error: Callable[[RequestError], HttpResponse] = plain_error


@dataclass(frozen=True, slots=True)
class Match:
    """A route, and the parameters that the path gives it."""

    route: Route
    parameters: dict[str, str]


_CACHED_PATHS = 512


@dataclass(slots=True)
class _Node:
    literal: dict[str, "_Node"] = field(default_factory=dict)
    any: "_Node | None" = None
    routes: dict[str, tuple[Route, tuple[str, ...]]] = field(default_factory=dict)


class RouteTable:
    """All routes, found segment by segment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Index the routes. A literal segment goes before a parameter."""
        self.routes = tuple(routes)
        self._root = _Node()
        # callers use few paths; what is no path of ours raises or is not the data plane's, and costs its walk each time
        self.find = lru_cache(maxsize=_CACHED_PATHS)(self._walk)
        for route in self.routes:
            self._add(route)

    def _walk(self, method: str, path: str) -> Match | None:
        """Return what answers a call, or None for a path that is not the data plane's.

        Raises:
            RequestError: 405, the path has other methods.
        """
        node: _Node | None = self._root
        values: list[str] = []
        for segment in path.split("/")[1:]:
            following = node.literal.get(segment) if node is not None else None
            if following is None and node is not None and segment:
                following = node.any
                values.append(segment)
            node = following
            if node is None:
                return None
        if node is None or not node.routes:
            return None
        found = node.routes.get(method)
        if found is None:
            allowed = ", ".join(sorted(node.routes))
            raise RequestError(
                405, f"{method} is not allowed on {path}; allowed: {allowed}", headers={"Allow": allowed}
            )
        route, names = found
        return Match(route, dict(zip(names, values, strict=True)))

    def scope(self, method: str, path: str, otherwise: Callable[[str], str | None]) -> str | None:
        """Return what a caller's key has to allow, by `otherwise` for a path that is not the data plane's."""
        try:
            match = self.find(method, path)
        except RequestError:
            return None
        return match.route.scope if match is not None else otherwise(path)

    def _add(self, route: Route) -> None:
        node = self._root
        names: list[str] = []
        for segment in route.pattern.split("/")[1:]:
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        node.routes[route.method] = (route, tuple(names))
