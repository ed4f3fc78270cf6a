"""We scrape real targets beside Debian's Prometheus, by the same file, and store what it stores.

The reference is 2.42 and our meaning is 3.14: a bound like ``le="1"`` of a text page is kept as
``1.0`` here and as it is there, so bounds are compared as numbers.
"""

import asyncio
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from benchmarks.api import Api, LabelSet, Points, as_numbers
from benchmarks.processes import cpu_seconds, free_port, wait_for
from tests.harness import servers
from tests.harness.servers import Absent, Server

pytestmark = pytest.mark.server

PUSHED = """\
# HELP job_last_success_unixtime Last time the batch job succeeded.
# TYPE job_last_success_unixtime gauge
job_last_success_unixtime{instance="",job="backup"} 1.5e+09
job_last_success_unixtime{instance="host-1",job="report"} 1.6e+09
# TYPE push_time_seconds gauge
push_time_seconds{instance="",job="backup"} 1.7e+09
node_agent{exported_job="x",job="y"} NaN
odd_value{a="say \\"hi\\"\\\\"} -Inf
unlabelled 3
"""
"""As a Pushgateway shows it: labels of the pushed jobs, some of them empty."""
WINDOW_S = 8


class PageServer:
    """A page at ``/metrics`` on a loopback port, which also tells who asked."""

    def __init__(self, body: str) -> None:
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.headers.append({k.lower(): v for k, v in self.headers.items()})
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_request(self, code: object = "-", size: object = "-") -> None:
                del code, size

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "PageServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Sides:
    """Both servers scraping by the one file *config*, and one target that can be stopped."""

    ours: Api
    theirs: Api
    server: Server
    config: Path
    page: PageServer
    example: Server

    def both(self, query: str, at_s: float) -> tuple[dict[LabelSet, Points], ...]:
        """The instant answers of both, bounds as numbers."""
        return tuple(
            {as_numbers(labels): points for labels, points in api.instant(query, at_s).series}
            for api in (self.ours, self.theirs)
        )


def configuration(jobs: dict[str, str], page: str) -> dict[str, object]:
    """A file that both understand: plain jobs, one that honors labels, rules, limits."""
    found = servers.run_config(jobs)
    scrape = found["scrape_configs"]
    assert isinstance(scrape, list)
    at_page = {"static_configs": [{"targets": [page], "labels": {"zone": "z"}}]}
    scrape += [
        {"job_name": "pushed", "honor_labels": True, **at_page},
        {"job_name": "renamed", **at_page},
        {
            "job_name": "ruled",
            **at_page,
            "relabel_configs": [
                {"source_labels": ["__address__"], "regex": "(.*):.*", "target_label": "host"},
                {"action": "labelmap", "regex": "(zo)ne", "replacement": "${1}o"},
                {
                    "source_labels": ["__address__", "zone"],
                    "action": "hashmod",
                    "modulus": 1000,
                    "target_label": "shard",
                },
            ],
            "metric_relabel_configs": [
                {"source_labels": ["__name__"], "regex": "push_.*", "action": "drop"},
                {"source_labels": ["job"], "regex": "(.).*", "target_label": "initial"},
                {"action": "labeldrop", "regex": "exported_.*"},
                {"source_labels": ["instance"], "target_label": "instance", "action": "uppercase"},
            ],
        },
        {"job_name": "limited", "sample_limit": 3, **at_page},
        {"job_name": "gone", "static_configs": [{"targets": ["127.0.0.1:1"]}]},
        {"job_name": "lost", "metrics_path": "/nothing", "static_configs": [{"targets": [page]}],
         "params": {"a": ["b"]}, "basic_auth": {"username": "me", "password": "secret"}},
        {"job_name": "dropped", **at_page, "relabel_configs": [{"action": "drop"}]},
    ]  # fmt: skip
    return found


@pytest.fixture(scope="module")
def sides(warm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    """Both sides, once each has scraped for a while."""
    home = tmp_path_factory.mktemp("scrape")
    own = free_port()
    with ExitStack() as stack:
        page = stack.enter_context(PageServer(PUSHED))
        try:
            node = stack.enter_context(servers.start_node_exporter(home / "node.log"))
            example = stack.enter_context(servers.start_example(home / "example.log"))
            reference = stack.enter_context(
                servers.start_prometheus(
                    home / "prometheus",
                    configuration(
                        {
                            "prometheus": f"127.0.0.1:{own}",
                            "node": node.address,
                            "inference": example.address,
                        },
                        page.address,
                    ),
                    address=f"127.0.0.1:{own}",
                )
            )
        except Absent as absent:
            pytest.skip(str(absent))
        config = home / "prometheus" / "prometheus.yml"
        server = stack.enter_context(
            servers.start_o11y(
                home / "ours", home / "ours.log", "--config", str(config), ready_s=servers.READY_S
            )
        )
        found = Sides(Api(server.url), Api(reference.url), server, config, page, example)
        wait_for(
            lambda: all(len(answer) == 9 for answer in found.both("up", time.time())),
            "nine targets on both sides",
        )
        time.sleep(WINDOW_S + 4)
        yield found


def everything(sides: Sides, job: str) -> tuple[dict[LabelSet, Points], ...]:
    return sides.both(f'{{job="{job}"}}', time.time())


@pytest.mark.parametrize("job", ["node", "inference", "prometheus"])
def test_real_exporters_give_the_same_series(sides: Sides, job: str) -> None:
    """Every label set, what the scrape tells about itself included."""

    def equal() -> bool:
        ours, theirs = everything(sides, job)
        return len(theirs) > 10 and ours.keys() == theirs.keys()

    def difference() -> str:
        ours, theirs = everything(sides, job)
        return f"missing {theirs.keys() - ours.keys()}, invented {ours.keys() - theirs.keys()}"

    try:
        wait_for(equal, "")
    except AssertionError:
        pytest.fail(difference())


@pytest.mark.parametrize("job", ["node", "inference", "prometheus"])
def test_what_does_not_change_has_the_same_value(sides: Sides, job: str) -> None:
    """Every counter and constant that stood still on both sides."""
    raw = f'{{job="{job}", __name__=~".*_(total|count|sum|bucket|info|size)"}}[{WINDOW_S}s]'
    ours, theirs = sides.both(raw, time.time())
    still = [
        labels
        for labels in ours.keys() & theirs.keys()
        if len({v for _, v in ours[labels]}) == len({v for _, v in theirs[labels]}) == 1
    ]

    assert len(still) > 10
    assert [one for one in still if ours[one][0][1] != theirs[one][0][1]] == []


PAGE_JOBS = ("pushed", "renamed", "ruled", "limited", "gone", "lost")


@pytest.mark.parametrize("job", PAGE_JOBS)
def test_a_page_is_stored_as_the_reference_does(sides: Sides, job: str) -> None:
    """Honored and overruled labels, rules, limits and failures: same series, same values."""
    jobs = "pushed|backup|report|y" if job == "pushed" else job
    query = f'{{job=~"{jobs}", __name__!="scrape_duration_seconds"}}'
    ours, theirs = (
        {labels: str(points[-1][1]) for labels, points in side.items()}
        for side in sides.both(query, time.time())
    )

    assert ours == theirs
    assert len(theirs) >= 4


def test_a_dropped_target_is_not_scraped(sides: Sides) -> None:
    """It has no series at all."""
    assert everything(sides, "dropped") == ({}, {})


def test_up_is_the_same_everywhere(sides: Sides) -> None:
    """For every target of every job."""
    ours, theirs = sides.both("up", time.time())

    assert {k: v[0][1] for k, v in ours.items()} == {k: v[0][1] for k, v in theirs.items()}


def test_the_targets_pages_agree(sides: Sides) -> None:
    """/api/v1/targets names the same targets with the same labels, URLs and health."""

    def shown(api: Api) -> tuple[object, object]:
        data = api.call("/api/v1/targets")
        keys = ("scrapePool", "scrapeUrl", "health", "labels", "scrapeInterval", "scrapeTimeout")
        active = sorted(str([one[key] for key in keys]) for one in data["activeTargets"])
        dropped = [one["discoveredLabels"] for one in data["droppedTargets"]]
        return active, dropped

    assert shown(sides.ours) == shown(sides.theirs)


def test_requests_look_like_prometheus_own(sides: Sides) -> None:
    """Encoding and timeout are asked for alike, credentials and Accept are sent by both."""
    ours = next(h for h in sides.page.headers if h["user-agent"].startswith("o11y"))
    theirs = next(h for h in sides.page.headers if h["user-agent"].startswith("Prometheus"))

    for name in ("accept-encoding", "x-prometheus-scrape-timeout-seconds"):
        assert ours[name] == theirs[name]
    assert ours["accept"].startswith("application/openmetrics-text;version=1.0.0")
    sent = {
        headers["user-agent"][:4]: headers["authorization"]
        for headers in sides.page.headers
        if "authorization" in headers
    }
    assert sent["o11y"] == sent["Prom"]


def test_samples_lie_a_whole_interval_apart(sides: Sides) -> None:
    """All series of one scrape share their time, and ticks are a second apart."""
    ours, _ = sides.both(f'{{job="node"}}[{WINDOW_S}s]', time.time())
    times = {tuple(time for time, _ in points) for points in ours.values()}
    [longest] = {one for one in times if len(one) == max(map(len, times))}
    gaps = {round(b - a, 3) for a, b in itertools.pairwise(longest)}

    assert len(longest) >= WINDOW_S - 1
    assert min(gaps) > 0.9
    assert 1.0 in gaps


def test_a_stopped_target_is_stale_at_once(sides: Sides) -> None:
    """Within seconds both sides answer nothing more for it but up 0."""
    assert len(everything(sides, "inference")[0]) > 20
    sides.example.process.terminate()

    def ended() -> bool:
        ours, theirs = everything(sides, "inference")
        return len(ours) == len(theirs) == 5

    wait_for(ended, "both sides ended the series of the stopped target")
    ours, theirs = sides.both('up{job="inference"}', time.time())
    assert ours.keys() == theirs.keys()
    assert [points[0][1] for points in ours.values()] == [0]
    raw, _ = sides.both("inference_requests_total[10m]", time.time())
    assert raw, "the samples of before are still there"


def test_a_reload_takes_and_refuses(sides: Sides) -> None:
    """SIGHUP and /-/reload: a bad file changes nothing and says where; a good one is in force."""
    text = sides.config.read_text()
    sides.config.write_text(text + "scrape_config: []\n")
    answer = sides.ours.http.post("/-/reload")
    line = text.count("\n") + 1
    assert answer.status_code == 500
    assert f'prometheus.yml:{line}: unknown key "scrape_config"' in answer.text
    assert len(sides.ours.call("/api/v1/scrape_pools")["scrapePools"]) == 10

    config = yaml.safe_load(text)
    config["scrape_configs"] = [j for j in config["scrape_configs"] if j["job_name"] == "renamed"]
    sides.config.write_text(yaml.safe_dump(config))
    os.kill(sides.server.process.pid, signal.SIGHUP)

    wait_for(
        lambda: sides.ours.call("/api/v1/scrape_pools")["scrapePools"] == ["renamed"],
        "the new configuration is in force",
    )
    wait_for(
        lambda: (
            {dict(labels)["job"] for labels, _ in sides.ours.instant("up", time.time()).series}
            == {"renamed"}
        ),
        "the series of removed jobs are ended",
    )
    assert "o11y_config_last_reload_successful 1.0" in sides.ours.http.get("/metrics").text


class _Busy(asyncio.Protocol):
    """Answers every request with a page of 500 series, whose values differ each time."""

    pages: tuple[bytes, ...] = ()
    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            self._received = self._received.split(b"\r\n\r\n", 1)[1]
            _Busy.served += 1
            page = self.pages[_Busy.served % len(self.pages)]
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
            self._transport.write(head + b"Content-Length: %d\r\n\r\n" % len(page) + page)


def busy_page(seed: int) -> bytes:
    lines = []
    for metric in range(10):
        name = f"requests_{metric}_total"
        lines.append(f"# HELP {name} Requests.\n# TYPE {name} counter")
        lines += [
            f'{name}{{method="GET",handler="/api/{k}",code="200"}} {seed * 17 + k}.25'
            for k in range(50)
        ]
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.long
def test_200_targets_of_500_series_cost_a_fifth_of_a_core(warm: None, tmp_path: Path) -> None:
    """Every 15 s, over two whole intervals, with everything stored and synced."""
    _Busy.pages = tuple(busy_page(seed) for seed in range(8))
    loop = asyncio.new_event_loop()
    busy = loop.run_until_complete(loop.create_server(_Busy, "127.0.0.1", 0))
    address = f"127.0.0.1:{busy.sockets[0].getsockname()[1]}"
    threading.Thread(target=loop.run_forever, daemon=True).start()
    groups = [
        {"targets": [address], "labels": {"__metrics_path__": f"/{n}", "instance": f"i{n}"}}
        for n in range(200)
    ]
    config = tmp_path / "prometheus.yml"
    job = {"job_name": "load", "scrape_interval": "15s", "static_configs": groups}
    config.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    with servers.start_o11y(
        tmp_path / "data", tmp_path / "log", "--config", str(config), ready_s=servers.READY_S
    ) as server:
        api = Api(server.url)
        time.sleep(20)
        before_s, began = cpu_seconds(server.process.pid), time.monotonic()
        time.sleep(30)
        used = (cpu_seconds(server.process.pid) - before_s) / (time.monotonic() - began)
        answer = api.instant('count({job="load"}) + 0 * sum(up)', time.time())
        assert answer.series[0][1][0][1] == 200 * 505
    loop.call_soon_threadsafe(loop.stop)
    assert used < 0.2
