"""The server about itself: health, versions, its own metrics, a start page."""

import asyncio
import platform

from server.call import Call
from server.doors.ingest import RETRY_SECONDS, retry_after
from server.http import TEXT, Response, success, text_error
from server.metrics.self_metrics import CONTENT_TYPE
from server.settings import PROMETHEUS_VERSION, VERSION

_HOME = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Hanzo O11y</title></head>
<body><h1>Hanzo O11y {VERSION}</h1>
<p>A PromQL engine over a columnar time-series database.</p>
<ul>
<li><code>POST /api/v1/write</code>: Prometheus remote write</li>
<li><code>/api/v1/query</code>, <code>/api/v1/query_range</code>: PromQL</li>
<li><a href="/docs">/docs</a>: every route</li>
<li><a href="/metrics">/metrics</a>: the server's own metrics</li>
</ul></body></html>
"""


async def healthy(call: Call) -> Response:
    del call
    return Response(b"Hanzo O11y is Healthy.\n", content_type=TEXT)


async def ready(call: Call) -> Response:
    """200 where writes and queries are taken, 503 with the reason where only queries are."""
    space = call.house.store.space
    if space.is_low:
        raise text_error(
            503, f"Hanzo O11y is not ready: {space.low()}", (retry_after(RETRY_SECONDS),)
        )
    return Response(b"Hanzo O11y is Ready.\n", content_type=TEXT)


async def home(call: Call) -> Response:
    del call
    return Response(_HOME.encode(), content_type="text/html; charset=utf-8")


async def metrics(call: Call) -> Response:
    """Our own metrics. Whoever has a key sees no organization by name but those of the key."""
    page = await asyncio.to_thread(call.house.metrics.page, call.principal.governs)
    return Response(page, content_type=CONTENT_TYPE)


async def buildinfo(call: Call) -> Response:
    """The Prometheus version whose API this is, which Grafana goes by, and ours."""
    del call
    return success(
        {
            "version": PROMETHEUS_VERSION,
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
            "pythonVersion": platform.python_version(),
            "o11yVersion": VERSION,
        }
    )
