"""Visits: what one scrape stores, and what it stores when it fails."""

import asyncio
import gzip
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest

from scrape import fetch
from scrape.target import discovered_labels, make_target
from scrape.visit import Visitor
from series.labels import Labels
from tests.scrape.worlds import NOW_MS, STALE, World, answer, job_of
from tests.wire.encode import chunk, varint
from tests.wire.histograms import Sent

URL = "http://127.0.0.1:81/metrics"
PAGE = '# TYPE a counter\n# HELP a All of a.\na 1\nb{x="1"} 2\n'


def visitor_of(world: World, directory: Path, text: str = "") -> Visitor:
    job = job_of(directory, f"job_name: j\n{text}")
    target = make_target(job, discovered_labels(job, {"__address__": "127.0.0.1:81"}))
    assert target is not None
    around = world.around
    return Visitor(job, target, around.clock, around.deliver, around.counters, around.transport)


def visit(world: World, visitor: Visitor, *times_s: int) -> None:
    """Visits at NOW_MS plus these seconds, in one event loop."""

    async def run() -> None:
        for time_s in times_s:
            await visitor.visit(NOW_MS + 1000 * time_s)
        await visitor.close()

    asyncio.run(run())


def test_a_scrape_stores_the_page_and_tells_about_itself(tmp_path: Path) -> None:
    """Every sample has the scrape's time; up and its sisters come along."""
    world = World()
    world.show(URL, PAGE)
    visitor = visitor_of(world, tmp_path)

    visit(world, visitor, 0)

    assert world.names() == [
        '{__name__="a", instance="127.0.0.1:81", job="j"}',
        '{__name__="b", instance="127.0.0.1:81", job="j", x="1"}',
    ]
    assert {time for points in world.points().values() for time, _ in points} == {NOW_MS}
    assert world.values("up") == [1]
    assert world.values("scrape_samples_scraped") == [2]
    assert world.values("scrape_samples_post_metric_relabeling") == [2]
    assert world.values("scrape_series_added") == [2]
    assert world.values("scrape_duration_seconds") == [0]
    assert visitor.health == "up"
    assert visitor.told.page["a"].help == "All of a."
    assert world.harvests[0].metadata["a"].type == "counter"


def test_extra_series_on_request(tmp_path: Path) -> None:
    """``extra_scrape_metrics`` adds timeout, limit and size."""
    world = World()
    world.show(URL, PAGE)

    visit(world, visitor_of(world, tmp_path, "extra_scrape_metrics: true\nsample_limit: 9"), 0)

    assert world.values("scrape_timeout_seconds") == [10]
    assert world.values("scrape_sample_limit") == [9]
    assert world.values("scrape_body_size_bytes") == [len(PAGE)]


def test_the_request_is_prometheus_own(tmp_path: Path) -> None:
    """Accept, encoding, timeout and credentials are sent; renewed tokens are used at once."""
    world = World()
    world.show(URL, PAGE)
    (tmp_path / "token").write_text("one\n")
    visitor = visitor_of(world, tmp_path, "authorization: {credentials_file: token}")

    async def run() -> None:
        await visitor.visit(NOW_MS)
        (tmp_path / "token").write_text("two\n")
        await visitor.visit(NOW_MS + 1)

    asyncio.run(run())

    first, second = (request.headers for request in world.requests)
    assert first["accept"].startswith("application/openmetrics-text;version=1.0.0;")
    assert first["accept-encoding"] == "gzip"
    assert first["x-prometheus-scrape-timeout-seconds"] == "10"
    assert [first["authorization"], second["authorization"]] == ["Bearer one", "Bearer two"]


def test_basic_credentials_and_no_compression(tmp_path: Path) -> None:
    """User and password go as one token."""
    world = World()
    world.show(URL, PAGE)
    options = "basic_auth: {username: me, password: p}\nenable_compression: false"

    visit(world, visitor_of(world, tmp_path, options), 0)

    assert world.requests[0].headers["authorization"] == "Basic bWU6cA=="
    assert world.requests[0].headers["accept-encoding"] == "identity"


def test_a_series_that_is_gone_gets_a_marker(tmp_path: Path) -> None:
    """At the time of the first page without it, once."""
    world = World()
    world.show(URL, PAGE)
    visitor = visitor_of(world, tmp_path)

    async def run() -> None:
        await visitor.visit(NOW_MS)
        world.show(URL, "a 5\n")
        for time_ms in (NOW_MS + 1, NOW_MS + 2):
            await visitor.visit(time_ms)

    asyncio.run(run())

    assert world.values("a") == [1, 5, 5]
    [points] = world.points("b").values()
    assert points == [(NOW_MS, 2), (NOW_MS + 1, STALE)]
    assert world.values("scrape_series_added") == [2, 0, 0]


@pytest.mark.parametrize(
    ("page", "options", "reason", "text"),
    [
        (None, "", "connection", f'Get "{URL}": connection refused'),
        (answer(b"", status=503), "", "http-status",
         "server returned HTTP status 503 Service Unavailable"),
        (answer(b"a 1\n?\n"), "", "malformed", "line 2"),
        (answer(b"a 1\n", "text/html"), "", "content-type",
         'received unsupported Content-Type "text/html" and no'),
        (answer(b"a 1\n", ""), "", "content-type",
         "non-compliant scrape target sending blank Content-Type"),
        (answer(b"a 1\nb 2\n"), "sample_limit: 1", "sample-limit", "sample limit exceeded"),
        (answer(b"a 1\nb 2\n"), "body_size_limit: 5B", "body-size-limit",
         "body size limit exceeded"),
        (answer(b"a", encoding="br"), "", "content-encoding", 'unknown content encoding "br"'),
        (None, "basic_auth: {username: a, password_file: none}", "credentials",
         "cannot use the job's credentials"),
    ],
)  # fmt: skip
def test_a_failed_scrape_ends_every_series(
    tmp_path: Path, page: httpx.Response | None, options: str, reason: str, text: str
) -> None:
    """up is 0, what the page before showed is ended, the reason is told and counted."""
    world = World()
    world.show(URL, "z 1\n")
    visitor = visitor_of(world, tmp_path, options)

    async def run() -> None:
        await visitor.visit(NOW_MS)
        world.pages.pop(URL)
        if page is not None:
            world.pages[URL] = lambda _: page
        await visitor.visit(NOW_MS + 1)

    asyncio.run(run())

    assert world.values("up")[-1] == 0
    assert visitor.health == "down"
    assert text in visitor.last_error
    assert world.counters.failures[reason] >= 1
    if reason != "credentials":
        assert world.values("z") == [1, STALE]


def test_a_page_that_is_too_slow_fails(tmp_path: Path) -> None:
    """What the client calls a timeout is one."""
    world = World()

    def late(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("too late", request=request)

    world.pages[URL] = late
    visitor = visitor_of(world, tmp_path)
    visit(world, visitor, 0)

    assert world.counters.failures == {"timeout": 1}
    assert world.values("up") == [0]


def test_a_sample_limit_tells_its_counts(tmp_path: Path) -> None:
    """The report of a page beyond the limit still says how many samples there were."""
    world = World()
    world.show(URL, "a 1\nb 2\nc 3\n")

    visit(world, visitor_of(world, tmp_path, "sample_limit: 2"), 0)

    assert world.values("scrape_samples_scraped") == [3]
    assert world.values("scrape_samples_post_metric_relabeling") == [3]


def test_after_a_failure_known_series_are_not_new(tmp_path: Path) -> None:
    """They go on where they stopped, and do not count as added."""
    world = World()
    visitor = visitor_of(world, tmp_path)

    async def run() -> None:
        for step, good in enumerate((True, False, True)):
            world.pages.pop(URL, None)
            if good:
                world.show(URL, "a 1\n")
            await visitor.visit(NOW_MS + step)

    asyncio.run(run())

    assert world.values("a") == [1, STALE, 1]
    assert world.values("scrape_series_added") == [1, 0, 0]


def test_times_of_the_page_are_honored_or_not(tmp_path: Path) -> None:
    """With ``honor_timestamps: false`` every sample has the scrape's time."""
    page = f"a 1 {NOW_MS - 5}\nb 2\n"
    for option, expected in (("true", NOW_MS - 5), ("false", NOW_MS)):
        world = World()
        world.show(URL, page)
        visit(world, visitor_of(world, tmp_path, f"honor_timestamps: {option}"), 0)

        assert list(world.points("a").values()) == [[(expected, 1)]]
        assert list(world.points("b").values()) == [[(NOW_MS, 2)]]


def test_openmetrics_and_fallback_protocols(tmp_path: Path) -> None:
    """The content type decides how a page is read; the fallback where there is none."""
    world = World()
    world.show(URL, "# TYPE a counter\na_total 1 # {x=\"1\"} 1\n# EOF\n",
               "application/openmetrics-text; version=1.0.0")  # fmt: skip
    visit(world, visitor_of(world, tmp_path), 0)
    assert world.values("a_total") == [1]
    exemplars = world.harvests[0].batch.exemplars
    assert exemplars is not None and exemplars.rows.tolist() == [0]

    world = World()
    world.show(URL, "b 1\n", "")
    visit(world, visitor_of(world, tmp_path, "fallback_scrape_protocol: PrometheusText0.0.4"), 0)
    assert world.values("b") == [1]


def test_metadata_is_delivered_when_it_changes(tmp_path: Path) -> None:
    """And not again while it stays the same."""
    world = World()
    world.show(URL, PAGE)
    visitor = visitor_of(world, tmp_path)

    visit(world, visitor, 0, 1)

    assert [len(harvest.metadata) for harvest in world.harvests] == [1, 0]


def test_compressed_pages_are_read(tmp_path: Path) -> None:
    """gzip, also in several members; broken and cut off ones fail."""
    body = gzip.compress(b"a 1\n") + gzip.compress(b"b 2\n")
    for content, up in ((body, 1), (body[:-9], 0), (b"nonsense", 0)):
        world = World()
        response = answer(content, encoding="gzip")
        world.pages[URL] = lambda _, response=response: response  # type: ignore[misc]

        visit(world, visitor_of(world, tmp_path), 0)

        assert world.values("up") == [up], content


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a limit of the job the house's own holds, before memory is spent."""
    monkeypatch.setattr(fetch, "MAX_BODY_BYTES", 1000)
    world = World()
    packer = zlib.compressobj(wbits=31)
    bomb = packer.compress(bytes(10_000_000)) + packer.flush()
    world.pages[URL] = lambda _: answer(bomb, encoding="gzip")
    visitor = visitor_of(world, tmp_path)

    visit(world, visitor, 0)

    assert visitor.last_error == "body size limit exceeded"


def test_a_forced_error_asks_nobody(tmp_path: Path) -> None:
    """The target is down without a request."""
    world = World()
    world.show(URL, PAGE)
    visitor = visitor_of(world, tmp_path)
    visitor.forced_error = "target_limit exceeded"

    visit(world, visitor, 0)

    assert world.requests == []
    assert world.values("up") == [0]


def test_a_store_that_refuses_is_counted(tmp_path: Path) -> None:
    """The visit ends well, and the metadata is sent again."""
    world = World()
    world.show(URL, PAGE)
    world.store_error = OSError("disk full")
    visitor = visitor_of(world, tmp_path)

    async def run() -> None:
        await visitor.visit(NOW_MS)
        world.store_error = RuntimeError("a fault")
        await visitor.visit(NOW_MS + 1)
        world.store_error = None
        await visitor.visit(NOW_MS + 2)

    asyncio.run(run())

    assert world.counters.failures == {"storage": 1, "internal": 1}
    assert len(world.harvests[0].metadata) == 1


def test_the_end_marks_page_and_report(tmp_path: Path) -> None:
    """Every series that goes on is ended at the given time, the scrape's own too."""
    world = World()
    world.show(URL, PAGE)
    visitor = visitor_of(world, tmp_path)

    async def run() -> None:
        await visitor.visit(NOW_MS)
        await visitor.end(NOW_MS + 7)

    asyncio.run(run())

    points = world.points()
    assert len(points) == 7
    assert all(last[-1] == (NOW_MS + 7, STALE) for last in points.values())


def test_a_large_page_is_read_in_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome is the same."""
    monkeypatch.setattr("scrape.visit.OFFLOAD_BYTES", 1)
    world = World()
    world.show(URL, PAGE)

    visit(world, visitor_of(world, tmp_path), 0)

    assert world.values("a") == [1]


PROTOBUF = (
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
)


def test_native_histograms_are_scraped_where_that_is_wanted(tmp_path: Path) -> None:
    """Instead of their classic series, or beside them; by default there are but those."""
    histogram = Sent(count=2, positive_spans=[(0, 1)], positive=[2]).exposition()
    metric = chunk(4, chunk(7, histogram))
    message = chunk(1, b"h") + b"\x18\x04" + metric
    body = varint(len(message)) + message
    classic = ["h_bucket", "h_count", "h_sum"]
    for text, expected in (
        ("", classic),
        ("scrape_native_histograms: true", ["h"]),
        ("scrape_native_histograms: true\nalways_scrape_classic_histograms: true", ["h", *classic]),
    ):
        world = World()
        world.pages[URL] = lambda _: answer(body, PROTOBUF)
        visit(world, visitor_of(world, tmp_path, text), 0, 15)
        assert [name.split('"')[1] for name in world.names()] == expected
        batch = world.harvests[1].batch
        if "h" in expected:
            assert batch.histogram_ids is not None and batch.histograms is not None
            [row] = np.flatnonzero(batch.histogram_ids >= 0).tolist()
            assert Labels.from_key(batch.key(row)).metric == "h"
            assert batch.histograms.one(0).count == 2.0
        else:
            assert batch.histogram_ids is None


def test_a_native_histogram_that_is_gone_gets_a_marker(tmp_path: Path) -> None:
    """As any other series does: a float."""
    histogram = Sent(count=2, positive_spans=[(0, 1)], positive=[2]).exposition()
    message = chunk(1, b"h") + b"\x18\x04" + chunk(4, chunk(7, histogram))
    pages = [varint(len(message)) + message, b""]
    world = World()
    world.pages[URL] = lambda _: answer(pages.pop(0), PROTOBUF)
    visit(world, visitor_of(world, tmp_path, "scrape_native_histograms: true"), 0, 15)
    assert world.values("h") == [0.0, STALE]
    assert world.harvests[1].batch.histogram_ids is None


def test_classic_histograms_are_converted_where_that_is_wanted(tmp_path: Path) -> None:
    """The series of a page become one histogram."""
    world = World()
    page = '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 3\nh_count 3\nh_sum 2\n'
    world.show(URL, page)
    visit(world, visitor_of(world, tmp_path, "convert_classic_histograms_to_nhcb: true"), 0)
    assert [name.split('"')[1] for name in world.names()] == ["h"]
    assert world.values("scrape_samples_scraped") == [1]
