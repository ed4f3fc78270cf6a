"""The table of routes: what exists, by which methods, for whom, and who answers.

``hot`` routes are answered over plain ASGI; the others go through FastAPI, which also documents
them all.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from server import metadata_api, query_api, status_api, write_api
from server.auth import Need
from server.call import Call
from server.http import Response

GET = ("GET",)
GET_HEAD = ("GET", "HEAD")
GET_POST = ("GET", "POST")
POST = ("POST",)


@dataclass(frozen=True, slots=True)
class Route:
    """One path; ``{name}`` stands for one segment of it.

    ``params`` are the parameters that the documentation lists, those with ``*`` are required.
    """

    path: str
    methods: tuple[str, ...]
    need: Need
    handler: Callable[[Call], Awaitable[Response]]
    summary: str
    params: tuple[str, ...] = ()
    hot: bool = False


_INSTANT = ("query*", "time", "timeout", "limit", "lookback_delta", "stats")
_RANGE = ("query*", "start*", "end*", "step*", "timeout", "limit", "lookback_delta", "stats")
_SERIES = ("start", "end", "limit")

ROUTES = (
    Route("/api/v1/write", POST, Need.WRITE, write_api.write, "Remote write 1.0", hot=True),
    *(
        Route(path, GET_POST, Need.READ, query_api.query, "Instant query", _INSTANT, hot=True)
        for path in ("/api/v1/query", "/v1/metrics/query", "/v1/o11y/query")
    ),
    *(
        Route(path, GET_POST, Need.READ, query_api.query_range, "Range query", _RANGE, hot=True)
        for path in ("/api/v1/query_range", "/v1/metrics/query_range", "/v1/o11y/query_range")
    ),
    Route(
        "/api/v1/format_query", GET_POST, Need.READ, query_api.format_query, "Format", ("query*",)
    ),
    Route(
        "/api/v1/series", GET_POST, Need.READ, metadata_api.series, "Series", ("match[]*", *_SERIES)
    ),
    Route(
        "/api/v1/labels",
        GET_POST,
        Need.READ,
        metadata_api.labels,
        "Label names",
        ("match[]", *_SERIES),
    ),
    Route(
        "/api/v1/label/{name}/values",
        GET,
        Need.READ,
        metadata_api.label_values,
        "Values of a label",
        ("match[]", *_SERIES),
    ),
    Route(
        "/api/v1/metadata",
        GET,
        Need.READ,
        metadata_api.metadata,
        "Types, help texts and units of metrics",
        ("metric", "limit", "limit_per_metric"),
    ),
    Route("/api/v1/status/buildinfo", GET, Need.READ, status_api.buildinfo, "Versions"),
    Route("/metrics", GET, Need.ANY_KEY, status_api.metrics, "The server's own metrics"),
    Route("/-/healthy", GET_HEAD, Need.NOTHING, status_api.healthy, "Is it alive?", hot=True),
    Route("/-/ready", GET_HEAD, Need.NOTHING, status_api.ready, "Does it answer?", hot=True),
    Route("/", GET_HEAD, Need.ANY_KEY, status_api.home, "The start page", hot=True),
)


class Router:
    """Finds the route of a path."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._fixed = {route.path: route for route in routes if "{" not in route.path}
        self._open = [(route.path.split("/"), route) for route in routes if "{" in route.path]

    def find(self, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and the named segments of *path*, or None."""
        if (fixed := self._fixed.get(path)) is not None:
            return fixed, {}
        segments = path.split("/")
        for pattern, route in self._open:
            if len(pattern) != len(segments):
                continue
            pairs = list(zip(pattern, segments, strict=True))
            if all(a == b or (a.startswith("{") and b) for a, b in pairs):
                return route, {a[1:-1]: b for a, b in pairs if a.startswith("{")}
        return None
