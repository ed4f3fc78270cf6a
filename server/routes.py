"""The table of routes: what exists, by which methods, for whom, and who answers.

``hot`` routes are answered over plain ASGI; the others go through FastAPI, which also documents
them all.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from server.access.auth import Need
from server.api import (
    admin_api,
    admin_tsdb_api,
    exemplars_api,
    federate_api,
    metadata_api,
    query_api,
    read_api,
    rules_api,
    status_api,
    status_reports,
    targets_api,
)
from server.call import Call
from server.doors import import_api, otlp_api, push_api, write_api
from server.http import Response

GET = ("GET",)
GET_HEAD = ("GET", "HEAD")
GET_POST = ("GET", "POST")
POST = ("POST",)
POST_PUT = ("POST", "PUT")
PUSH = ("POST", "PUT", "DELETE")


@dataclass(frozen=True, slots=True)
class Route:
    """One path; ``{name}`` stands for one segment of it, ``{name:path}`` for all that are left.

    ``params`` are the parameters that the documentation lists, those with ``*`` are required.
    ``at_once`` answers a GET as ``handler`` does where nobody has to wait for it, else with None.
    """

    path: str
    methods: tuple[str, ...]
    need: Need
    handler: Callable[[Call], Awaitable[Response]]
    summary: str
    params: tuple[str, ...] = ()
    hot: bool = False
    at_once: Callable[[Call], Response | None] | None = None


_HOW = ("timeout", "limit", "lookback_delta", "stats", "explain", "analyze", "strict")
_INSTANT = ("query*", "time", *_HOW)
_RANGE = ("query*", "start*", "end*", "step*", *_HOW, "nocache")
_SERIES = ("start", "end", "limit", "strict")
_INFLUX = ("db", "bucket", "precision")

ROUTES = (
    Route("/api/v1/write", POST, Need.WRITE, write_api.write, "Remote write 1.0 and 2.0", hot=True),
    *(
        Route(path, POST, Need.WRITE, otlp_api.metrics, "OTLP metrics", hot=True)
        for path in (
            "/v1/metrics",
            "/v1/v1/metrics",  # an SDK whose OTEL_EXPORTER_OTLP_ENDPOINT ends in /v1
            "/otlp/v1/metrics",
            "/api/v1/otlp/v1/metrics",
            "/opentelemetry/v1/metrics",
        )
    ),
    Route(
        "/api/v1/import/prometheus",
        POST,
        Need.WRITE,
        import_api.prometheus,
        "Import Prometheus text or OpenMetrics",
        ("timestamp",),
        hot=True,
    ),
    Route("/api/v1/import", POST, Need.WRITE, import_api.json_lines, "Import JSON lines", hot=True),
    *(
        Route(path, PUSH, Need.WRITE, push_api.push, "Push a group of metrics", hot=True)
        for job in ("/metrics/job/{job}", "/metrics/job@base64/{job}")
        for path in (job, f"{job}/{{labels:path}}")
    ),
    *(
        Route(
            path, POST, Need.WRITE, import_api.influx_write, "Influx line protocol", _INFLUX, True
        )
        for path in ("/write", "/api/v2/write")
    ),
    Route(
        "/ping", GET_HEAD, Need.NOTHING, import_api.influx_ping, "Influx: is it there?", hot=True
    ),
    Route(
        "/query", GET_POST, Need.ANY_KEY, import_api.influx_query, "Influx: yes to all", hot=True
    ),
    *(
        Route(
            path,
            GET_POST,
            Need.READ,
            query_api.query,
            "Instant query",
            _INSTANT,
            hot=True,
            at_once=query_api.query_at_once,
        )
        for path in ("/api/v1/query", "/v1/metrics/query", "/v1/o11y/query")
    ),
    *(
        Route(
            path,
            GET_POST,
            Need.READ,
            query_api.query_range,
            "Range query",
            _RANGE,
            hot=True,
            at_once=query_api.query_range_at_once,
        )
        for path in ("/api/v1/query_range", "/v1/metrics/query_range", "/v1/o11y/query_range")
    ),
    Route(
        "/api/v1/format_query", GET_POST, Need.READ, query_api.format_query, "Format", ("query*",)
    ),
    Route(
        "/api/v1/parse_query",
        GET_POST,
        Need.READ,
        query_api.parse_query,
        "The tree of an expression",
        ("query*",),
    ),
    Route(
        "/api/v1/series",
        GET_POST,
        Need.READ,
        metadata_api.series,
        "Series",
        ("match[]*", *_SERIES),
        hot=True,
        at_once=metadata_api.series_at_once,
    ),
    Route(
        "/api/v1/labels",
        GET_POST,
        Need.READ,
        metadata_api.labels,
        "Label names",
        ("match[]", *_SERIES),
        hot=True,
        at_once=metadata_api.labels_at_once,
    ),
    Route(
        "/api/v1/label/{name}/values",
        GET,
        Need.READ,
        metadata_api.label_values,
        "Values of a label",
        ("match[]", *_SERIES),
        hot=True,
        at_once=metadata_api.label_values_at_once,
    ),
    Route(
        "/api/v1/query_exemplars",
        GET_POST,
        Need.READ,
        exemplars_api.query_exemplars,
        "Exemplars of a query's series",
        ("query*", "start", "end"),
    ),
    Route("/api/v1/read", POST, Need.READ, read_api.read, "Remote read", ("strict",), hot=True),
    Route(
        "/federate",
        GET,
        Need.READ,
        federate_api.federate,
        "Newest samples as a page",
        ("match[]*", "strict"),
        hot=True,
    ),
    Route(
        "/api/v1/metadata",
        GET,
        Need.READ,
        metadata_api.metadata,
        "Types, help texts and units of metrics",
        ("metric", "limit", "limit_per_metric"),
    ),
    Route(
        "/api/v1/targets",
        GET,
        Need.READ,
        targets_api.targets,
        "What is scraped",
        ("state", "scrapePool"),
    ),
    Route(
        "/api/v1/targets/metadata",
        GET,
        Need.READ,
        targets_api.targets_metadata,
        "What targets tell of their metrics",
        ("match_target", "metric", "limit"),
    ),
    Route(
        "/api/v1/targets/relabel_steps",
        GET,
        Need.READ,
        targets_api.relabel_steps,
        "What a job's relabelling does",
        ("scrapePool*", "labels*"),
    ),
    Route("/api/v1/scrape_pools", GET, Need.READ, targets_api.scrape_pools, "Names of the jobs"),
    Route(
        "/api/v1/scrape_pools/config",
        GET,
        Need.READ,
        targets_api.scrape_pool_config,
        "One job's configuration",
        ("scrapePool*",),
    ),
    Route(
        "/api/v1/rules",
        GET,
        Need.READ,
        rules_api.rules,
        "Rules",
        ("type", "match[]", "exclude_alerts", "group_limit", "group_next_token"),
    ),
    Route("/api/v1/alerts", GET, Need.READ, rules_api.alerts, "Alerts"),
    Route("/api/v1/alertmanagers", GET, Need.READ, rules_api.alertmanagers, "Who hears of alerts"),
    Route("/api/v1/status/config", GET, Need.READ, targets_api.config, "The configuration"),
    Route("/-/reload", POST, Need.ADMIN, targets_api.reload, "Load the configuration again"),
    Route("/api/v1/status/buildinfo", GET, Need.READ, status_api.buildinfo, "Versions"),
    Route("/api/v1/status/runtimeinfo", GET, Need.READ, status_reports.runtimeinfo, "The process"),
    Route("/api/v1/status/flags", GET, Need.READ, status_reports.flags, "Settings"),
    Route("/api/v1/status/tsdb", GET, Need.READ, status_reports.tsdb, "Cardinality", ("limit",)),
    Route("/api/v1/features", GET, Need.READ, status_reports.features, "What this server can do"),
    Route("/v1/admin/orgs", GET, Need.ADMIN, admin_api.orgs, "Organizations"),
    Route("/v1/admin/keys", ("GET", "POST"), Need.ADMIN, admin_api.keys, "Keys"),
    Route("/v1/admin/keys/{id}", ("DELETE",), Need.ADMIN, admin_api.revoke, "Revoke a key"),
    Route("/v1/admin/limits", GET, Need.ADMIN, admin_api.limits, "Limits in force"),
    Route("/v1/admin/usage", GET, Need.ADMIN, admin_api.usage, "What organizations hold"),
    Route(
        "/api/v1/admin/tsdb/delete_series",
        POST_PUT,
        Need.ADMIN,
        admin_tsdb_api.delete_series,
        "Delete samples of series",
        ("match[]*", "start", "end"),
    ),
    Route(
        "/api/v1/admin/tsdb/clean_tombstones",
        POST_PUT,
        Need.ADMIN,
        admin_tsdb_api.clean_tombstones,
        "Take deleted samples off the disk",
    ),
    Route(
        "/api/v1/admin/tsdb/snapshot",
        POST_PUT,
        Need.ADMIN,
        admin_tsdb_api.snapshot,
        "Make a snapshot",
        ("skip_head",),
    ),
    Route("/metrics", GET, Need.ANY_KEY, status_api.metrics, "The server's own metrics"),
    Route("/-/healthy", GET_HEAD, Need.NOTHING, status_api.healthy, "Is it alive?", hot=True),
    Route("/-/ready", GET_HEAD, Need.NOTHING, status_api.ready, "Does it answer?", hot=True),
    Route("/", GET_HEAD, Need.ANY_KEY, status_api.home, "The start page", hot=True),
)


_REST = ":path}"
REMEMBERED = 1024
"""So many paths with named segments are remembered, ..."""
REMEMBERED_CHARACTERS = 200
"""... none of them longer than this."""


class Router:
    """Finds the route of a path."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._fixed: dict[str, tuple[Route, dict[str, str]]] = {
            route.path: (route, {}) for route in routes if "{" not in route.path
        }
        self._found: dict[str, tuple[Route, dict[str, str]]] = {}
        self._open = [(route.path.split("/"), route) for route in routes if "{" in route.path]

    def find(self, path: str) -> tuple[Route, dict[str, str]] | None:
        """The route and the named segments of *path*, or None."""
        if (fixed := self._fixed.get(path)) is not None:
            return fixed
        if (found := self._found.get(path)) is None:
            found = self._search(path)
            if found is not None and len(path) <= REMEMBERED_CHARACTERS:
                if len(self._found) >= REMEMBERED:
                    self._found.clear()
                self._found[path] = found
        return found

    def _search(self, path: str) -> tuple[Route, dict[str, str]] | None:
        segments = path.split("/")
        for pattern, route in self._open:
            parts = segments
            if pattern[-1].endswith(_REST):
                parts = [*segments[: len(pattern) - 1], "/".join(segments[len(pattern) - 1 :])]
            if len(pattern) != len(parts):
                continue
            pairs = list(zip(pattern, parts, strict=True))
            if all(a == b or (a.startswith("{") and (b or a.endswith(_REST))) for a, b in pairs):
                captures = {a[1:-1]: b for a, b in pairs if a.startswith("{")}
                return route, {name.removesuffix(":path"): b for name, b in captures.items()}
        return None
