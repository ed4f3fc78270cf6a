"""Where the time of one narrow and one wide query goes, ours alone; see docs/performance.md.

python -m benchmarks.anatomy
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks import idle, servers
from benchmarks.http1 import Connection, get
from benchmarks.ingest_rows import prepare
from benchmarks.processes import cpu_seconds
from benchmarks.queries import ONE, ONE_COUNTER, SHIFTS, chosen
from benchmarks.send import ingest
from benchmarks.servers import Server
from benchmarks.workload import Workload, starting_now

WARM = 300
NARROW = 3000
WIDE = 7

LADDER: Sequence[tuple[str, str, Mapping[str, str]]] = [
    ("HTTP: socket, parser, route", "/-/healthy", {}),
    ("+ key, parameters, limits, an empty evaluation, JSON", "/api/v1/query", {"query": "1"}),
    ("+ view, selector that finds nothing", "/api/v1/query", {"query": "nothing_has_this_name"}),
    ("+ one series found, read and written", "/api/v1/query", {"query": ONE}),
    ("rate(...[5m]) in its place", "/api/v1/query", {"query": f"rate({ONE_COUNTER}[5m])"}),
]
"""What a request does more than the one above it; the last replaces the one above it."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.anatomy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--instances", type=int, default=100, help="of 100 series each")
    parser.add_argument("--hours", type=float, default=6)
    given = parser.parse_args(arguments)
    workload = Workload(given.instances, round(given.hours * 3600))
    workload = replace(workload, start_ms=starting_now(workload))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[:-1] or cores)
    console = Console(width=120)
    with tempfile.TemporaryDirectory(prefix="o11y-anatomy-") as home:
        prefix = ["taskset", "-c", str(cores[-1])]
        data, log = Path(home) / "data", Path(home) / "log"
        with servers.start_o11y(data, log, prefix=prefix) as server:
            ingest(server, prepare(workload, 10_000, 2))
            idle.wait([server.process.pid], idle.RESTED_S)
            console.print(_narrow(server, workload))
            for letter in ("d2", "e"):
                console.print(_wide(server, workload, letter))
    return 0


def _narrow(server: Server, workload: Workload) -> Table:
    table = Table(title="One narrow query, CPU of the server", title_justify="left")
    for name in ("a request does", "us in all", "us more"):
        table.add_column(name, justify="right" if "us" in name else "left")
    before = 0.0
    for title, path, parameters in LADDER:
        spent = _cpu_us(server, workload, path, parameters)
        table.add_row(title, f"{spent:.0f}", f"{spent - before:+.0f}")
        before = spent
    return table


def _cpu_us(server: Server, workload: Workload, path: str, parameters: Mapping[str, str]) -> float:
    """Microseconds of the server's CPU for one of many requests, one at a time."""
    times = [f"{workload.end_ms / 1000 - 60 + 1.7 * shift:.3f}" for shift in range(SHIFTS)]
    requests = [
        get(server.url, path, {**parameters, "time": time} if parameters else {}) for time in times
    ]
    with closing(Connection(server.url)) as connection:
        for count in range(WARM):
            connection.ask(requests[count % SHIFTS])
        before_s = cpu_seconds(server.process.pid)
        for count in range(NARROW):
            connection.ask(requests[count % SHIFTS])
        return (cpu_seconds(server.process.pid) - before_s) / NARROW * 1e6


def _wide(server: Server, workload: Workload, letter: str) -> Table:
    [query] = chosen([letter])
    spent: dict[str, list[float]] = {}
    totals: list[float] = []
    with closing(Connection(server.url)) as connection:
        for repetition in range(WIDE + 1):
            asked = {**query.parameters(workload, repetition), "nocache": "1"}
            before_s = cpu_seconds(server.process.pid)
            connection.ask(get(server.url, query.path, asked))
            total_s = cpu_seconds(server.process.pid) - before_s
            asked["analyze"] = "1"
            answer = orjson.loads(connection.ask(get(server.url, query.path, asked)).body)
            if repetition:  # the first warms up
                totals.append(total_s)
                for title, seconds in _nodes(answer["data"]["plan"]):
                    spent.setdefault(title, []).append(seconds)
    table = Table(title=f"{query.name}: {query.text}", title_justify="left")
    table.add_column("step of the plan")
    table.add_column("ms", justify="right")
    medians = {title: statistics.median(seconds) * 1000 for title, seconds in spent.items()}
    for title, own_ms in medians.items():
        table.add_row(title, f"{own_ms:.2f}")
    total_ms = statistics.median(totals) * 1000
    rest_ms = total_ms - sum(medians.values())
    table.add_row("all else: HTTP, parsing, series found, JSON", f"{rest_ms:.2f}")
    table.add_row("the whole request, CPU", f"{total_ms:.2f}")
    return table


def _nodes(node: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    yield f"{node['node']}  {node['expr'][:60]}", node["measured"]["seconds"]
    for child in node["children"]:
        yield from _nodes(child)


if __name__ == "__main__":
    sys.exit(main())
