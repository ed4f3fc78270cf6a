"""How the cost of a sample grows along one axis at a time, ours alone; see docs/benchmarks.md.

python -m benchmarks.growth
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import idle, ingest_rows, peers
from benchmarks.http1 import Connection
from benchmarks.peers import OURS, Peer
from benchmarks.processes import cpu_seconds, memory_bytes, reset_peak, scratch
from benchmarks.queries import Query, chosen
from benchmarks.workload import CLASSES, Workload, starting_now

FLAT = 1.5
"""A cost per sample may be so many times that of the first row."""
MIB = 1 << 20
AXES = {
    "10,000 series, 6 h": (100, 6.0),
    "1,000 series, 48 h": (10, 48.0),
    "100,000 series, 1 h": (1000, 1.0),
}
"""Title -> (instances, hours)."""
READ = {"d2": ["counters"], "e": ["buckets"], "g": ["noise"], "n": list(CLASSES)}
"""Letter of a query -> the classes of series that it reads."""
REPETITIONS = 20
"""Of each query; the least CPU of them counts, since the rows are minutes apart and whatever else
a shared machine does only adds."""

Figures = dict[str, float]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the instances of each row")
    parser.add_argument("--dir", type=Path, help="where the data lie while it runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    found: dict[str, Figures] = {}
    say = Console(stderr=True, width=140).print
    try:
        os.sched_setaffinity(0, cores[:-1] or cores)
        for title, (instances, hours) in AXES.items():
            workload = Workload(max(1, round(instances * given.share)), round(hours * 3600))
            say(f"{title}: {workload.samples:,} samples")
            with scratch("o11y-growth-", given.dir) as home:
                found[title] = measure(workload, home, cores[-1:])
    finally:
        os.sched_setaffinity(0, cores)
    Console(width=140).print(growth_table(found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


def measure(workload: Workload, home: Path, cores: list[int]) -> Figures:
    """Ingests *workload* into a fresh server and asks the queries of READ."""
    workload = replace(workload, start_ms=starting_now(workload))
    shards = ingest_rows.prepare(workload, 10_000, 2)
    with peers.start(OURS, home, cores) as peer:
        sent = ingest_rows.ingest_together([peer], shards)[OURS]
        found = {
            "ingest, CPU ns a sample": sent["cpu_s"] / sent["samples"] * 1e9,
            "ingest, peak MiB": sent["peak_bytes"] / MIB,
        }
        del shards
        for query in chosen(list(READ)):
            found |= asked(query, peer, workload)
    return found


def asked(query: Query, peer: Peer, workload: Workload) -> Figures:
    """CPU of *query* for each sample that it reads; the memory that it takes, and its answer."""
    read = sum(CLASSES[name] for name in READ[query.letter]) * workload.instances * workload.ticks
    busy_s: list[float] = []
    size, grown = 0, 0
    with closing(Connection(peer.url)) as connection:
        for repetition in range(REPETITIONS + 1):
            request = query.request(peer.url, workload, repetition)
            before = memory_bytes(peer.pid)
            reset_peak(peer.pid)
            before_s = cpu_seconds(peer.pid)
            reply = connection.ask(request)
            busy_s.append(cpu_seconds(peer.pid) - before_s)
            if reply.status != 200:
                raise RuntimeError(f"{query.name}: {reply.status} {reply.body[:300]!r}")
            size = len(reply.body)
            grown = max(grown, memory_bytes(peer.pid, "VmHWM") - before)
        idle.wait([peer.pid], idle.RESTED_S)
    return {
        f"{query.letter}, CPU ns a sample": min(busy_s[1:]) / read * 1e9,
        f"{query.letter}, memory MiB": grown / MIB,
        f"{query.letter}, answer MiB": size / MIB,
    }


def growth_table(found: Mapping[str, Figures]) -> Table:
    """The figures of each row; costs per sample also as a multiple of the first row's."""
    first, *others = found
    table = Table(title=f"growth, ours alone; at most {FLAT}x is flat", title_justify="left")
    table.add_column("figure")
    for title in found:
        table.add_column(title, justify="right")
    for name, base in found[first].items():
        texts = [f"{base:.3g}"]
        for title in others:
            figure = found[title][name]
            # Memory that was there before takes none, which nothing is a multiple of.
            mark = _mark(figure / base) if name.endswith("a sample") else ""
            texts.append(f"{figure:.3g}{mark}")
        table.add_row(name, *texts)
    return table


def _mark(times: float) -> str:
    return f" ({times:.2f}x)" if times <= FLAT else f" ({times:.2f}x, not flat)"


if __name__ == "__main__":
    sys.exit(main())
