"""Every kind of query over very many series, ours beside its peers; see docs/benchmarks.md.

100,000 series of ten samples each; the narrow and long queries are those of ``benchmarks.run``.

python -m benchmarks.wide
"""

import argparse
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import ingest_rows, peers, query_rows, report
from benchmarks.lines import Line
from benchmarks.peers import OURS, Peer
from benchmarks.processes import scratch
from benchmarks.queries import Query, X
from benchmarks.servers import Absent
from benchmarks.workload import Workload, starting_now

SPAN_S, STEP_S = 600, 60
REPETITIONS = 5
NOISE = "node_cpu_usage"
INSTANTS = {
    "vector": X,
    "rate": f"rate({X}[5m])",
    "over-time": f"avg_over_time({X}[5m])",
    "subquery": f"max_over_time({X}[5m:1m])",
    "range-vector": f"{X}[5m]",
    "timestamp": f"timestamp({X})",
    "sum": f"sum({X})",
    "sum-by": f"sum by (instance, status) ({X})",
    "sum-without": f"sum without (instance) ({X})",
    "quantile-by": f"quantile by (instance) (0.9, {X})",
    "stddev-by": f"stddev by (path) ({X})",
    "topk": f"topk(10, {X})",
    "topk-by": f"topk by (instance) (2, {X})",
    "count-values": f"count_values('v', round({X}, 1000))",
    "histogram-quantile": (
        "histogram_quantile(0.9, sum by (le, instance) (http_request_duration_seconds_bucket))"
    ),
    "sort": f"sort({X})",
    "label-replace": f"label_replace({X}, 'host', 'h$1', 'instance', 'i-(.*)')",
    "label-join": f"label_join({X}, 'both', '-', 'instance', 'path')",
    "negation": f"-{X}",
    "comparison": f"{X} > 1000",
    "functions": f"ln(sqrt(abs({X}))) + 1",
    "one-to-one": f"{X} / {X}",
    "many-to-one": f"{X} / on (instance) group_left sum by (instance) ({X})",
    "and": f"{X} and on (instance) {NOISE}",
    "or": f"{X} or {NOISE}",
    "unless": f"{X} unless on (instance, path, status) {X} > 1000",
    "regex": f'count({X}{{instance=~"i-.*7.*"}})',
}
"""What is asked of one instant, by the name of its row."""
RANGES = {
    "range-vector-of-all": X,
    "range-sum-rate-by": f"sum by (path) (rate({X}[5m]))",
    "range-topk": f"topk(5, {X})",
    "range-comparison": f"{X} > 1000",
}
"""What is asked of some minutes, at every one."""
QUERIES = [
    *(Query(name, "instant", text, repetitions=REPETITIONS) for name, text in INSTANTS.items()),
    *(
        Query(name, "range", text, left_s=300, repetitions=REPETITIONS)
        for name, text in RANGES.items()
    ),
    Query("series", "series", NOISE, repetitions=REPETITIONS),
    Query("label-values", "values", "instance", repetitions=REPETITIONS),
]


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 where our answers differ from the reference's."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.wide",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--instances", type=int, default=1000, help="of 100 series each")
    parser.add_argument("--peers", default=",".join(peers.NAMES), help="the servers to start")
    parser.add_argument("--budget", type=float, default=8.0, help="seconds a query and server")
    parser.add_argument("--dir", type=Path, help="where the data lie while it runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    workload = Workload(given.instances, SPAN_S, STEP_S)
    workload = replace(workload, start_ms=starting_now(workload))
    try:
        os.sched_setaffinity(0, cores[:-1] or cores)
        with scratch("o11y-wide-", given.dir) as home:
            results = measure(workload, given.peers.split(","), home, cores[-1:], given.budget)
    finally:
        os.sched_setaffinity(0, cores)
    report.print_table(results, Console(width=report.WIDTH))
    ratios = [line.ratio for line in report.lines_of(results) if line.ratio is not None]
    if ratios:
        print(f"ours by the best peer: median {statistics.median(ratios):.2f}x, most", end=" ")
        print(f"{max(ratios):.2f}x")
    if given.json:
        report.write_json(results, given.json)
    return 1 if any(OURS in found for found in results["differences"].values()) else 0


def measure(
    workload: Workload, names: Sequence[str], home: Path, cores: list[int], budget_s: float
) -> dict[str, Any]:
    """Gives *workload* to fresh servers *names* and asks them all of QUERIES."""
    console = Console(stderr=True, width=140)
    lines: list[Line] = []
    differences: dict[str, dict[str, list[str]]] = {}
    with ExitStack() as stack:
        running: list[Peer] = []
        for name in names:
            try:
                running.append(stack.enter_context(peers.start(name, home / name, cores)))
            except Absent as absent:
                console.print(f"without {name}: {absent}")
        ingest_rows.ingest_together(running, ingest_rows.prepare(workload, 10_000, 2))
        for query in QUERIES:
            line, found = query_rows.ask_all(query, running, workload, len(cores), budget_s)
            console.print(report.told(line), highlight=False)
            lines.append(line)
            if found:
                differences[query.name] = dict(found)
    return {
        "workload": asdict(workload) | {"series": workload.series, "samples": workload.samples},
        "servers": {peer.name: {} for peer in running},
        "lines": [line.as_dict() for line in lines],
        "differences": differences,
    }


if __name__ == "__main__":
    sys.exit(main())
