"""Native histograms: ``sum(rate(h[5m]))`` over many of them, ours beside Debian's Prometheus.

Each series is a latency histogram of schema 3 with 20 to 30 buckets that observes more at every
scrape. Both servers get the same requests; the sums of their answers are compared before anything
is timed, and every repetition begins later, so that no cache of results answers.

python -m benchmarks.native
"""

import argparse
import os
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import servers
from benchmarks.peers import OURS, PROMETHEUS
from benchmarks.processes import cpu_seconds
from benchmarks.remote_write import compress, encode_labels, field, varint
from benchmarks.send import Request, ingest, settle
from benchmarks.servers import Absent, Server

QUERIES = {
    "sum rate": "sum(rate(h[5m]))",
    "p99 by job": "histogram_quantile(0.99, sum by (job) (rate(h[5m])))",
    "rate of all": "histogram_count(rate(h[5m]))",
}
STEP_S = 60
TIMES_PER_REQUEST = 10
SHIFT_S = 1.7
Counts = NDArray[np.int64]


def main() -> int:
    options = _options()
    console = Console(stderr=True, width=120)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:1])
    steps = round(options.hours * 3600 / STEP_S)
    start_ms = (int(time.time()) // STEP_S - steps - 1) * STEP_S * 1000
    requests = [
        Request(body, options.series * TIMES_PER_REQUEST, order)
        for order, body in enumerate(_bodies(options.series, steps, start_ms, options.seed))
    ]
    with tempfile.TemporaryDirectory(prefix="o11y-native-") as home, ExitStack() as stack:
        running: dict[str, Server] = {}
        try:
            for name in (OURS, PROMETHEUS):
                running[name] = stack.enter_context(_start(name, Path(home) / name, cores[-1]))
        except Absent as absent:
            console.print(str(absent))
            return 1
        for name, server in running.items():
            settle(server)
            done = ingest(server, [requests])
            console.print(f"{name}: {done.per_cpu_second:,.0f} histograms per CPU-second")
        end_s = start_ms / 1000 + steps * STEP_S
        rows = [
            _row(label, query, running, start_ms / 1000 + 301, end_s - 61, options.rounds)
            for label, query in QUERIES.items()
        ]
    _print(rows)
    return 0 if all(row["equal"] for row in rows) else 1


def _bodies(series: int, steps: int, start_ms: int, seed: int) -> Iterator[bytes]:
    """Requests of all series at TIMES_PER_REQUEST scrapes each."""
    random = np.random.default_rng(seed)
    first = random.integers(-20, 20, series)
    sizes = random.integers(20, 31, series)
    labels = [
        encode_labels({"__name__": "h", "instance": f"i-{s}", "job": f"j-{s % 10}"})
        for s in range(series)
    ]
    totals = [np.zeros(size, dtype=np.int64) for size in sizes]
    sums = np.zeros(series)
    for begin in range(0, steps, TIMES_PER_REQUEST):
        messages = [bytearray(label) for label in labels]
        for step in range(begin, min(begin + TIMES_PER_REQUEST, steps)):
            time_ms = start_ms + step * STEP_S * 1000
            for s in range(series):
                totals[s] += random.poisson(3.0, sizes[s])
                sums[s] += float(random.integers(1, 1000)) / 16
                message = _histogram(totals[s], int(first[s]), float(sums[s]), time_ms)
                messages[s] += field(4, message)
        yield compress(b"".join(field(1, bytes(message)) for message in messages))


def _histogram(counts: Counts, first: int, total: float, time_ms: int) -> bytes:
    """A Histogram message of whole counts in one span."""
    deltas = np.diff(counts, prepend=0).tolist()
    packed = b"".join(varint(_zigzag(delta)) for delta in deltas)
    span = b"\x08" + varint(_zigzag(first)) + b"\x10" + varint(len(counts))
    return b"".join(
        (
            b"\x08" + varint(int(counts.sum())),
            b"\x19" + struct.pack("<d", total),
            b"\x20" + varint(_zigzag(3)),
            b"\x29" + struct.pack("<d", 1e-128),
            b"\x30\x00",
            field(11, span),
            field(12, packed),
            b"\x78" + varint(time_ms),
        )
    )


def _zigzag(value: int) -> int:
    return value << 1 if value >= 0 else (-value << 1) - 1


def _start(name: str, home: Path, core: int) -> Server:
    prefix = ["taskset", "-c", str(core)]
    if name == OURS:
        home.mkdir(parents=True)
        return servers.start_o11y(home / "data", home / "log", prefix=prefix)
    return servers.start_prometheus(home, None, "--enable-feature=native-histograms", prefix=prefix)


def _row(
    label: str,
    query: str,
    running: dict[str, Server],
    start_s: float,
    end_s: float,
    rounds: int,
) -> dict[str, Any]:
    """Compares one answer, then times both in alternation: wall milliseconds and CPU."""
    answers = {name: _ask(server, query, start_s, end_s) for name, server in running.items()}
    equal = _equal(answers[OURS], answers[PROMETHEUS])
    took: dict[str, list[float]] = {name: [] for name in running}
    busy: dict[str, list[float]] = {name: [] for name in running}
    for repetition in range(rounds):
        shift_s = SHIFT_S * (1 + repetition)
        for name, server in running.items():
            pid = server.process.pid
            before, began = cpu_seconds(pid), time.perf_counter()
            _ask(server, query, start_s + shift_s, end_s - 60 + shift_s)
            took[name].append((time.perf_counter() - began) * 1000)
            busy[name].append((cpu_seconds(pid) - before) * 1000)
    medians = {name: statistics.median(times) for name, times in took.items()}
    return {
        "query": label,
        "equal": equal,
        "wall_ms": medians,
        "cpu_ms": {name: statistics.median(times) for name, times in busy.items()},
        "ratio": statistics.median(
            ours / theirs for ours, theirs in zip(took[OURS], took[PROMETHEUS], strict=True)
        ),
    }


def _ask(server: Server, query: str, start_s: float, end_s: float) -> list[dict[str, Any]]:
    form = {"query": query, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": str(STEP_S)}
    reply = httpx.post(f"{server.url}/api/v1/query_range", data=form, timeout=300, trust_env=False)
    if reply.status_code != 200:
        raise RuntimeError(f"{server.url}: {reply.status_code} {reply.text[:300]}")
    result: list[dict[str, Any]] = reply.json()["data"]["result"]
    return result


def _equal(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> bool:
    """Whether all points agree: counts and sums, or values within the difference of quantiles.

    Prometheus 2.42 interpolates quantiles linearly within a bucket, 3.x on the logarithm: values
    may differ by a bucket of schema 3, which is 9 %.
    """
    if len(ours) != len(theirs):
        return False
    theirs_by = {str(sorted(row["metric"].items())): row for row in theirs}
    for row in ours:
        other = theirs_by.get(str(sorted(row["metric"].items())))
        if other is None:
            return False
        mine, found = _numbers(row), _numbers(other)
        if mine.shape != found.shape or not np.allclose(mine, found, rtol=0.1):
            return False
        if "histograms" in row and not np.allclose(mine, found, rtol=1e-9):
            return False
    return True


def _numbers(row: dict[str, Any]) -> NDArray[np.float64]:
    if "histograms" in row:
        points = [(t, h["count"], h["sum"], len(h["buckets"])) for t, h in row["histograms"]]
    else:
        points = row["values"]
    return np.array(points, dtype=np.float64)


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("query over 1,000 native histograms", "equal")
    for name in (f"{OURS} ms", f"{PROMETHEUS} ms", f"{OURS} CPU ms", f"{PROMETHEUS} CPU ms"):
        table.add_column(name, justify="right")
    table.add_column("faster", justify="right")
    for row in rows:
        table.add_row(
            row["query"],
            "yes" if row["equal"] else "NO",
            *(
                f"{row[kind][name]:.1f}"
                for kind in ("wall_ms", "cpu_ms")
                for name in (OURS, PROMETHEUS)
            ),
            f"{1 / row['ratio']:.1f}x",
        )
    Console(width=120).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native", description=__doc__)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
