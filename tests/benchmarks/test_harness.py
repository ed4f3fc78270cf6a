"""The harness sends, waits and asks as its description promises."""

import http.server
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks import idle, load_rows, query_rows
from benchmarks.idle import BUSY_SHARE, Quiet
from benchmarks.ingest_rows import INTERVAL, SMALL, lines_of, prepare, slices, small_workload
from benchmarks.options import Options, parse
from benchmarks.pairs import Paired
from benchmarks.peers import OURS, Remote, remote
from benchmarks.processes import scratch
from benchmarks.queries import QUERIES, chosen
from benchmarks.run import main, run
from benchmarks.send import Sent, send
from benchmarks.servers import start_o11y
from benchmarks.workload import Workload

START_MS = 1_700_000_040_000
TINY = Workload(instances=3, span_s=300, start_ms=START_MS)


class _Peer(http.server.BaseHTTPRequestHandler):
    """Answers every query with *value*, and counts what it was asked and sent."""

    protocol_version = "HTTP/1.1"
    value = "1"
    asked: Sequence[str] = ()
    taken = 0
    status = 204

    def do_GET(self) -> None:
        type(self).asked = [*self.asked, self.path]
        data = {"resultType": "vector", "result": [{"metric": {}, "value": [1, self.value]}]}
        self._answer(200, json.dumps({"status": "success", "data": data}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).taken += 1
        self._answer(self.status, b"" if self.status == 204 else b"not so")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", f"{len(body)}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@contextmanager
def peer(name: str, **attributes: object) -> Iterator[tuple[Remote, type[_Peer]]]:
    kind = type(name, (_Peer,), attributes)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Remote(name, f"http://127.0.0.1:{server.server_address[1]}", name), kind
        server.shutdown()


def test_slices_hold_every_request_once_in_the_order_of_time() -> None:
    """The parts one after the other are the whole, and no part reaches into the next."""
    shards = prepare(TINY, 100, 2)
    parts = slices(shards, 4)
    assert len(parts) == 4
    for number, shard in enumerate(shards):
        assert [r for part in parts for r in part[number]] == shard
    ends = [[r.order for shard in part for r in shard] for part in parts]
    assert all(max(a) < min(b) for a, b in pairwise(ends))


def test_what_is_sent_is_counted_and_a_refusal_ends_it() -> None:
    """Every request of every connection is answered once; a 400 raises with its text."""
    shards = prepare(TINY, 100, 2)
    with peer("prometheus") as (target, server):
        sent = Sent()
        send(target.url, shards, sent)
        assert sent.samples == TINY.samples
        assert server.taken == len(sent.took_ms) == sum(map(len, shards))
    with peer("prometheus", status=400) as (target, _), pytest.raises(RuntimeError, match="not so"):
        send(target.url, shards, Sent())


def test_a_quiet_stretch_begins_where_the_last_busy_window_ends() -> None:
    """Small ticks do not end it and are not counted; work does both."""
    watched = Quiet(10.0)
    at_s = 10.0
    for used_s in (0.3, 0.012, 0.2, 0.012, 0.012):
        at_s += used_s
        watched.observe(at_s, 0.5)
    assert watched.quiet_s == 1.0
    assert watched.cpu_s == pytest.approx(10.0 + 0.3 + 0.012 + 0.2)
    assert 0.012 < BUSY_SHARE * 0.5 < 0.2


def test_both_sync_modes_stand_beside_the_same_peers() -> None:
    """One run of 16 senders gives two lines, in which ours is the one or the other."""
    found = {OURS: {"x": 1.0}, INTERVAL: {"x": 2.0}, "prometheus": {"x": 3.0}}
    always, interval = lines_of(SMALL[1], found, 1)
    assert always.servers == {OURS: {"x": 1.0}, "prometheus": {"x": 3.0}}
    assert interval.servers == {OURS: {"x": 2.0}, "prometheus": {"x": 3.0}}
    assert "16 senders, interval=1s" in interval.title


def test_the_small_workload_feeds_sixteen_connections_alike() -> None:
    """About as many samples as asked for, and as many requests on every connection."""
    small = small_workload(Workload(), 100_000)
    assert 90_000 <= small.samples <= 100_000
    shards = prepare(small, 50, 16)
    assert {len(shard) for shard in shards} == {small.samples // 50 // 16}
    assert {request.samples for shard in shards for request in shard} == {50}


def test_servers_are_asked_in_turn_and_never_the_same_twice() -> None:
    """Each repetition begins elsewhere, carries nocache=1, and asks every server once."""
    [query] = chosen(["b"])
    with peer("prometheus") as (one, asked_one), peer("o11y") as (two, asked_two):
        line, found = query_rows.ask_all(query, [one, two], TINY, 1, 60)
    assert not found
    assert line.servers["o11y"].keys() == {"p50", "p95", "repetitions", "answer_bytes"}
    assert line.servers["o11y"]["repetitions"] == query.repetitions
    assert list(asked_one.asked) == list(asked_two.asked)
    assert len(set(asked_one.asked)) == query.repetitions + 1
    assert all("nocache=1" in path for path in asked_one.asked)


def test_an_answer_that_differs_is_told_and_not_timed() -> None:
    """The reference is Prometheus, wherever it stands in the list."""
    [query] = chosen(["b"])
    with peer("o11y", value="2") as (ours, asked), peer("prometheus") as (other, _):
        line, found = query_rows.ask_all(query, [ours, other], TINY, 1, 60)
    assert list(found) == ["o11y"] and "2.0 not 1.0" in found["o11y"][0]
    assert list(line.servers) == ["prometheus"]
    assert len(asked.asked) == 1


def test_a_slow_server_is_left_out_after_its_time_is_spent() -> None:
    """Without any time left every server is still asked three times."""
    [query] = chosen(["b"])
    with peer("prometheus") as (one, asked):
        line, _ = query_rows.ask_all(query, [one], TINY, 1, 0.0)
    assert line.servers["prometheus"]["repetitions"] == query_rows.FEWEST
    assert len(asked.asked) == query_rows.FEWEST + 1


def test_load_counts_queries_at_every_number_of_connections() -> None:
    """A server whose process is not ours has rates, but no CPU."""
    [query] = chosen(["a"])
    with peer("prometheus") as (one, asked):
        rates, costs = load_rows.load_all(query, [one], TINY, 1, 0.06)
    figures = rates.servers["prometheus"]
    assert all(figures[f"{count}"] > 0 for count in load_rows.CONNECTIONS)
    assert len(asked.asked) > 3 * len(load_rows.CONNECTIONS)
    assert rates.more and not costs.more and not costs.servers


def test_pairs_are_compared_within_themselves() -> None:
    """The median is that of the ratios, whatever the machine did between the pairs."""
    assert Paired("x", "ms", (1.0, 10.0, 2.0), (0.5, 5.0, 4.0)).ratio == 0.5


def test_options_name_servers_parts_and_queries() -> None:
    """Beside a URL only ours is started; what is left out is everything."""
    usual = parse([], "x", None)
    assert usual.started == ["o11y", "prometheus", "victoria-metrics"] and usual.cores == [1, 2]
    assert usual.letters == [query.letter for query in QUERIES]
    beside = parse(
        ["--url", "a=http://h:1", "--url", "b=http://h:2", "--queries", "a,d"], "x", None
    )
    assert beside.started == ["o11y"] and beside.letters == ["a", "d"]
    assert beside.urls == {"a": "http://h:1", "b": "http://h:2"}
    assert parse(["--quick"], "x", None).measured == ["ingest", "queries"]


@pytest.mark.parametrize(
    "wrong",
    [
        Options(peers="nobody"),
        Options(peers=""),
        Options(url=["http://h:1"]),
        Options(url=["o11y=http://h:1"]),
        Options(url=["a=http://h:1", "a=http://h:2"]),
        Options(queries="zz"),
        Options(parts="everything"),
        Options(server_cores="0"),
        Options(jitter=41),
        Options(classes="dice"),
    ],
)
def test_wrong_options_are_refused(wrong: Options) -> None:
    """Each with a sentence."""
    with pytest.raises(ValueError, match=r"\w+ "):
        wrong.check()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server counts as idle after one quiet window."""
    monkeypatch.setattr(idle, "QUIET_S", idle.WINDOW_S)
    monkeypatch.setattr(idle, "RESTED_S", idle.WINDOW_S)


@pytest.mark.server
@pytest.mark.usefixtures("hasty")
def test_a_run_measures_a_server_started_here_and_one_by_url(tmp_path: Path) -> None:
    """Both take the same samples and answer alike; CPU and memory are of ours alone."""
    with start_o11y(tmp_path / "elsewhere", tmp_path / "log") as server:
        assert remote("b", server.url).kind == OURS
        file, cores = tmp_path / "run.json", os.sched_getaffinity(0)
        arguments = [
            "--instances",
            "2",
            "--hours",
            "0.2",
            "--budget",
            "0.05",
            "--queries",
            "a,d2,m",
        ]
        arguments += ["--load-seconds", "0.1", "--parts", "ingest,state,queries,load"]
        arguments += ["--peers", "o11y", "--url", f"other={server.url}", "--json", str(file)]
        assert main([*arguments, "--markdown", str(tmp_path / "run.md")]) == 0
        assert os.sched_getaffinity(0) == cores
    results = json.loads(file.read_text())
    lines = {(line["row"], line["cores"]): line for line in results["lines"]}
    assert {("d2", 1), ("d2", 2), ("a-load", 1), ("memory-idle", 2), ("disk", 1)} <= lines.keys()
    assert not results["differences"]
    assert lines["d2", 1]["servers"]["o11y"]["cpu"] > 0
    assert "cpu" not in lines["d2", 1]["servers"]["other"]
    assert lines["ingest-10000", 1]["servers"]["other"]["samples"] == results["workload"]["samples"]


@pytest.mark.server
@pytest.mark.usefixtures("hasty")
def test_fresh_servers_take_the_small_requests(tmp_path: Path) -> None:
    """The rows of both sync modes are measured, each with its own servers."""
    file = tmp_path / "run.json"
    options = Options(
        instances=2, hours=0.1, peers="o11y", parts="small", small_samples=6400, json=file
    )
    assert run(options) == 0
    rows = [line["row"] for line in json.loads(file.read_text())["lines"]]
    wanted = ["ingest-500", "ingest-50", "ingest-50-16", "ingest-50-16-interval"]
    assert rows[:4] == wanted


def test_data_lie_in_a_directory_that_is_made_and_removed(tmp_path: Path) -> None:
    """Below the one that was asked for, which need not be there before."""
    with scratch("bench-", tmp_path / "a" / "b") as home:
        assert home.parent == tmp_path / "a" / "b" and home.is_dir()
    assert not home.exists()
