"""Abuse and overload against a running server: it stays answerable, bounded and orderly.

``/-/healthy`` is asked every 10 ms on a connection of its own wherever a test says so, a while
before the abuse begins and all the while; its latencies are printed. They must stay below 50 ms in
99 of 100 cases; on a machine that is busy otherwise, below five times what they were before.
"""

import http.client
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import zstandard

from benchmarks.processes import memory_bytes
from benchmarks.remote_write import (
    Sender,
    compress,
    encode_labels,
    encode_series,
    varint,
    write_body,
)
from tests.harness import servers
from tests.harness.servers import Server

pytestmark = pytest.mark.server

HEALTH_P99_MS, HEALTH_RATIO = 50, 5
QUIET_S = 2.0
SMALL_P99_MS = 500
MOST_BOMB_BYTES = 64 << 20


@pytest.fixture
def server(warm: None, tmp_path: Path) -> Iterator[Server]:
    with servers.start_o11y(tmp_path / "data", tmp_path / "log") as running:
        yield running


@contextmanager
def health_watched(server: Server) -> Iterator[None]:
    """Asks ``/-/healthy`` for a while and then all the while; asserts how long that took."""
    took_ms: list[float] = []
    done = threading.Event()

    def watch() -> None:
        connection = http.client.HTTPConnection(server.address, timeout=30)
        while not done.wait(0.01):
            began = time.perf_counter()
            connection.request("GET", "/-/healthy")
            answer = connection.getresponse()
            answer.read()
            took_ms.append((time.perf_counter() - began) * 1000 if answer.status == 200 else np.inf)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        time.sleep(QUIET_S)
        quiet = len(took_ms)
        yield
    finally:
        done.set()
        thread.join(60)
    quiet_p99 = np.quantile(took_ms[:quiet], 0.99)
    # Without the longest: a shared machine may stand still once, what keeps us does so again.
    p50, p99 = np.quantile(sorted(took_ms[quiet:])[:-1], [0.5, 0.99])
    print(f"\nhealth: p99 {quiet_p99:.1f} ms before; then p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    assert p99 < max(HEALTH_P99_MS, HEALTH_RATIO * quiet_p99)


def closed_connections(server: Server) -> dict[str, int]:
    """``o11y_http_closed_connections_total`` by reason."""
    page = httpx.get(f"{server.url}/metrics", trust_env=False).text
    found = re.findall(r'^o11y_http_closed_connections_total{reason="(.+)"} (\S+)$', page, re.M)
    return {reason: int(float(count)) for reason, count in found}


def connect(server: Server, first: bytes = b"") -> socket.socket:
    host, port = server.address.split(":")
    made = socket.create_connection((host, int(port)), timeout=30)
    made.sendall(first)
    return made


def series_body(name: str, count: int, time_ms: int, value: float = 1.0) -> bytes:
    return compress(
        b"".join(
            encode_series(encode_labels({"__name__": name, "n": f"{n:05}"}), [(time_ms, value)])
            for n in range(count)
        )
    )


def test_slow_senders_leave_the_others_alone(server: Server) -> None:
    """600 connections that send their heads and bodies drop by drop: everybody else is served,
    and they are let go in time."""
    head = b"POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n"
    with ExitStack() as stack:
        starts = (head, head + b"\r\nabc", b"")
        slow = [stack.enter_context(connect(server, starts[k % 3])) for k in range(600)]
        began = time.monotonic()
        sender = Sender(server.url)
        with health_watched(server):
            k = 0
            while time.monotonic() - began < 13:
                k += 1
                now_ms = int(time.time() * 1000)
                assert sender.send(series_body("beside", 100, now_ms, k)) == (204, "")
                for one in slow[k % 3 :: 3]:
                    with suppress(OSError):  # those that were let go already
                        one.sendall(b"x" if starts[slow.index(one) % 3] else b"")
                time.sleep(0.5)
        assert closed_connections(server)["slow-head"] == 400
        assert slow[0].recv(1000).startswith(b"HTTP/1.1 408")
        assert slow[2].recv(1000).startswith(b"HTTP/1.1 408")


def test_there_are_only_so_many_connections(warm: None, tmp_path: Path) -> None:
    """With 200 files 100 connections are served; more hear 503, and room comes back."""
    prefix = ("prlimit", "--nofile=200:200")
    with (
        servers.start_o11y(tmp_path / "data", tmp_path / "log", prefix=prefix) as server,
        ExitStack() as stack,
    ):
        served = http.client.HTTPConnection(server.address, timeout=30)
        served.request("GET", "/-/healthy")
        assert served.getresponse().read() is not None
        others = [stack.enter_context(connect(server)) for _ in range(120)]
        refused = sum(b"503" in one.recv(1000) for one in others[-20:])
        assert refused == 20
        served.request("GET", "/-/healthy")
        assert served.getresponse().status == 200
        for one in others:
            one.close()

        def room() -> bool:
            with suppress(httpx.TransportError):
                return httpx.get(f"{server.url}/-/healthy", trust_env=False).status_code == 200
            return False

        server.process.wait_until(room, 10, "a new connection was served")
        assert closed_connections(server)["too-many"] >= 20


class Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def zeros(packer: Packer, size: int) -> bytes:
    """*size* zeros, compressed without ever holding them."""
    part = bytes(1 << 20)
    return b"".join(packer.compress(part) for _ in range(size >> 20)) + packer.flush()


def bombs() -> Iterator[tuple[str, str, dict[str, str], bytes]]:
    """(what, path, headers, body) of every door that decompresses."""
    gib = 1 << 30
    packed = {
        "gzip": zeros(zlib.compressobj(9, zlib.DEFLATED, 31), gib),
        "deflate": zeros(zlib.compressobj(9), gib),
        "zstd": zeros(zstandard.ZstdCompressor().compressobj(), gib),
    }
    lie = varint(gib) + b"\xfe\xff\xff"
    large = compress(bytes(33 << 20))
    kind = "application/x-protobuf"
    v2 = f"{kind};proto=io.prometheus.write.v2.Request"
    for content_type in (kind, v2):
        for name, body in (("header", lie), ("33 MiB", large)):
            headers = {"Content-Type": content_type, "Content-Encoding": "snappy"}
            yield f"write snappy {name}", "/api/v1/write", headers, body
        headers = {"Content-Type": content_type, "Content-Encoding": "zstd"}
        yield "write zstd", "/api/v1/write", headers, packed["zstd"]
    for encoding, body in packed.items():
        for content_type in (kind, "application/json"):
            headers = {"Content-Type": content_type, "Content-Encoding": encoding}
            yield f"otlp {encoding}", "/v1/metrics", headers, body
    for encoding in ("gzip", "zstd"):
        headers = {"Content-Encoding": encoding}
        for path in ("/api/v1/import/prometheus", "/api/v1/import", "/write"):
            yield f"{path} {encoding}", path, headers, packed[encoding]
        yield f"push {encoding}", "/metrics/job/x", headers, packed[encoding]
    yield "push snappy", "/metrics/job/x", {"Content-Encoding": "snappy"}, lie
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Content-Encoding": "gzip"}
    yield "query gzip", "/api/v1/query", headers, packed["gzip"][: 1 << 20]


def test_decompression_bombs_stay_small(server: Server) -> None:
    """What claims or grows to a gibibyte is refused at every door, in little memory and time,
    and nobody else waits for it."""
    pid = server.process.pid
    sender = Sender(server.url)
    assert sender.send(series_body("before", 1000, int(time.time() * 1000))) == (204, "")
    everything = list(bombs())
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        for _, path, headers, _ in everything:  # what a door needs once is there
            client.post(path, headers={**headers, "Content-Encoding": "identity"}, content=b"x 1\n")
        with health_watched(server):
            for what, path, headers, body in everything:
                Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak counts from here
                before = memory_bytes(pid)
                began = time.perf_counter()
                answer = client.post(path, headers=headers, content=body)
                seconds = time.perf_counter() - began
                grown = memory_bytes(pid, "VmHWM") - before
                print(f"{what:32} {len(body):8} B {seconds:5.2f} s +{grown / 2**20:5.1f} MiB")
                assert answer.status_code == 400, f"{what}: {answer.status_code} {answer.text}"
                assert grown < MOST_BOMB_BYTES, what


def test_health_is_answered_under_heavy_queries(server: Server) -> None:
    """50 askers of one tenant with expensive queries: /-/healthy answers, another tenant's small
    query is not queued behind them, and what is refused hears 429 with Retry-After."""
    sender = Sender(server.url, {"X-Org-Id": "heavy"})
    now_ms = int(time.time() * 1000)
    for k in range(60, 0, -1):
        assert sender.send(series_body("load", 2000, now_ms - 60_000 * k, k))[0] == 204
    small = Sender(server.url, {"X-Org-Id": "small"})
    assert small.send(write_body([({"__name__": "one"}, [(now_ms, 1.0)])])) == (204, "")
    end_s = now_ms // 1000
    heavy = (
        "/api/v1/query_range?query="
        + quote("sum(sum by (n) (rate(load[30m])) / on (n) max by (n) (max_over_time(load[30m])))")
        + f"&start={end_s - 3600}&end={end_s}&step=10"
    )
    statuses: list[tuple[int, str | None]] = []
    small_ms: list[float] = []
    done = threading.Event()

    def ask_heavy() -> None:
        connection = http.client.HTTPConnection(server.address, timeout=120)
        while not done.is_set():
            connection.request("GET", heavy, headers={"X-Org-Id": "heavy"})
            answer = connection.getresponse()
            answer.read()
            statuses.append((answer.status, answer.headers["retry-after"]))

    def ask_small() -> None:
        connection = http.client.HTTPConnection(server.address, timeout=120)
        while not done.wait(0.05):
            began = time.perf_counter()
            connection.request("GET", "/api/v1/query?query=one%2B1", headers={"X-Org-Id": "small"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
            small_ms.append((time.perf_counter() - began) * 1000)

    threads = [threading.Thread(target=ask_heavy) for _ in range(50)]
    threads.append(threading.Thread(target=ask_small))
    with health_watched(server):
        for thread in threads:
            thread.start()
        time.sleep(8)
        done.set()
        for thread in threads:
            thread.join(120)
    p50, p99 = np.quantile(small_ms, [0.5, 0.99])
    print(f"{len(statuses)} heavy answers; small queries p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    assert {status for status, _ in statuses} <= {200, 429}
    assert all(wait is not None for status, wait in statuses if status == 429)
    assert len(statuses) >= 50
    assert p99 < SMALL_P99_MS


def test_sigterm_under_load_finishes_what_runs(warm: None, tmp_path: Path) -> None:
    """Requests in flight are answered in full, exit 0, and every acknowledged sample is there."""
    writers, stop = 4, threading.Event()
    acked: list[list[int]] = [[] for _ in range(writers)]
    answers: list[str] = []
    with servers.start_o11y(tmp_path / "data", tmp_path / "first.log") as server:
        first_ms = int(time.time() * 1000) - 600_000

        def write(number: int) -> None:
            sender = Sender(server.url)
            labels = encode_labels({"__name__": "drained", "writer": f"{number}"})
            filler = encode_labels({"__name__": "filler", "writer": f"{number}"})
            with suppress(OSError, http.client.HTTPException):
                for k in range(100_000):
                    samples = [(first_ms + k, float(k))]
                    parts = [encode_series(labels, samples), encode_series(filler, samples * 400)]
                    status, text = sender.send(compress(b"".join(parts)))
                    if status != 204:
                        answers.append(f"write {status} {text}")
                        return
                    acked[number].append(k)

        def ask() -> None:
            with suppress(OSError, http.client.HTTPException):
                while not stop.is_set():
                    connection = http.client.HTTPConnection(server.address, timeout=60)
                    text = quote("max_over_time(count_over_time(drained[5m])[10m:50ms])")
                    connection.request("GET", f"/api/v1/query?query={text}")
                    answer = connection.getresponse()
                    body = answer.read()  # IncompleteRead where it is cut short
                    if answer.status != 200 or not body.endswith(b"}"):
                        answers.append(f"query {answer.status} {body[-200:]!r}")

        threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
        threads += [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        server.process.wait_until(lambda: all(len(one) > 50 for one in acked), 60, "50 writes each")
        began = time.monotonic()
        assert server.process.terminate() == 0
        took_s = time.monotonic() - began
        stop.set()
        for thread in threads:
            thread.join(60)
    assert answers == []
    with servers.start_o11y(tmp_path / "data", tmp_path / "second.log") as server:
        answer = httpx.get(
            f"{server.url}/api/v1/query", params={"query": "drained[1h]"}, trust_env=False
        ).json()
    found = {
        int(row["metric"]["writer"]): {round(t * 1000) - first_ms for t, _ in row["values"]}
        for row in answer["data"]["result"]
    }
    print(f"\ndrained in {took_s:.2f} s, {sum(map(len, acked))} writes acknowledged")
    for number, one in enumerate(acked):
        assert set(one) <= found[number], f"writer {number} lost acknowledged samples"
        assert max(found[number]) <= one[-1] + 1
