"""The application around the routes: methods, unknown paths, metrics, documentation."""

import asyncio

import pytest

from server.front import Front
from server.http import Message
from server.routes import ROUTES
from tests.server.conftest import Asker, concrete, up
from tsdb.log.progress import ReplayProgress


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_other_methods_are_405(asker: Asker, route: object) -> None:
    """A known path by another method, in plain text."""
    answer = asker("PATCH", concrete(route.path))  # type: ignore[attr-defined]
    assert (answer.status_code, answer.text) == (405, "Method Not Allowed\n")
    assert answer.headers["content-type"].startswith("text/plain")


def test_unknown_paths_are_404(asker: Asker) -> None:
    """In Prometheus' text."""
    for path in ("/api/v1/nothing", "/nothing", "/api/v1/label//values", "/api/v1/query/"):
        answer = asker.get(path)
        assert (answer.status_code, answer.text) == (404, "404 page not found\n")


def test_preflight_is_204(asker: Asker) -> None:
    """OPTIONS below /api/v1."""
    assert asker("OPTIONS", "/api/v1/query").status_code == 204


def test_probes_and_pages(asker: Asker) -> None:
    """Health, readiness and a start page, by GET and HEAD."""
    for path in ("/-/healthy", "/-/ready", "/"):
        assert asker.get(path).status_code == 200
        head = asker("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")


def test_own_metrics(asker: Asker) -> None:
    """Ingest, refusals, queries, tenants and the storage's numbers."""
    asker.write(up("a", 1, 2))
    asker.write_body(b"\xff")
    asker.values("up")
    page = asker.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    for line in (
        'o11y_ingest_samples_total{door="remote_write"} 2.0',
        "o11y_tenants 1.0",
        'o11y_http_requests_total{code="400",path="/api/v1/write"} 1.0',
        'o11y_query_duration_seconds_count{kind="instant"} 1.0',
        "o11y_head_series 1.0",
    ):
        assert line in page.text


def test_every_route_is_documented(asker: Asker) -> None:
    """The OpenAPI document lists the table, /docs shows it."""
    document = asker.get("/openapi.json").json()
    assert set(document["paths"]) == {route.path.replace(":path", "") for route in ROUTES}
    query = document["paths"]["/api/v1/query"]
    assert {parameter["name"] for parameter in query["get"]["parameters"]} >= {"query", "time"}
    assert asker.get("/docs").status_code == 200


def test_the_front_door_says_not_yet() -> None:
    """Until the house is open only /-/healthy answers 200; then it stands in the way of nothing."""
    front = Front(ReplayProgress())

    def status(path: str) -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        scope = {"type": "http", "path": path, "method": "GET", "headers": []}
        asyncio.run(front(scope, receive, send))
        return int(sent[0]["status"])

    assert status("/-/healthy") == 200
    assert status("/-/ready") == status("/api/v1/write") == 503


@pytest.mark.parametrize(
    ("path", "broken"),
    [
        ("/api/v1/status/buildinfo", "server.api.status_api.platform.python_version"),
        ("/api/v1/query?query=1", "server.api.query_api.params_at_once"),
    ],
)
def test_a_fault_of_ours_is_answered_once(
    asker: Asker, monkeypatch: pytest.MonkeyPatch, path: str, broken: str
) -> None:
    """500 without a word of what went wrong, whichever way the request took."""

    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(broken, fail)
    answer = asker.get(path)
    assert answer.status_code == 500
    assert "secret" not in answer.text
