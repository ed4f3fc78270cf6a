"""What the cache of range answers saves: a dashboard that slides on, with it and without it.

``python -m benchmarks.range_cache`` starts our server alone. It is apart from the table of
``benchmarks.run``, whose queries all carry ``nocache=1``.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.http1 import Connection, get, post
from benchmarks.processes import cpu_seconds
from benchmarks.servers import Server, start_o11y
from benchmarks.workload import Workload, starting_now

WRITE = {"content-type": "application/x-protobuf", "content-encoding": "snappy"}
STEP_S = 15
SPAN_S = 3600
FILLING = 3
"""So many slides only fill the cache."""
QUERIES = {
    "one series": 'machine_limit{instance="i-1",limit="0"}',
    "sum of rates": "sum by (job) (rate(http_requests_total[5m]))",
    "top of rates": "topk(5, sum by (path) (rate(http_requests_total[5m])))",
    "quantile": (
        "histogram_quantile(0.9, sum by (le, job) (rate(http_request_duration_seconds_bucket[5m])))"
    ),
    "earlier": "max by (cluster) (node_cpu_usage offset 10m)",
    "subquery": "max_over_time(sum(rate(http_requests_total[1m]))[10m:30s])",
}


@dataclass(slots=True)
class Cost:
    """CPU milliseconds a query, of all threads of the server."""

    without_ms: float = 0.0
    with_ms: float = 0.0


def measure(instances: int, slides: int) -> dict[str, Cost]:
    """The cost of each of QUERIES, asked *slides* times, a scrape and a step further each time.

    AssertionError where the two ways do not answer the same bytes.
    """
    # A request is a scrape of all instances.
    workload = Workload(
        instances=instances, span_s=2 * SPAN_S, step_s=STEP_S, samples_per_request=100 * instances
    )
    workload = replace(workload, start_ms=starting_now(workload))
    costs = {name: Cost() for name in QUERIES}
    bodies = [body for _, body, _ in workload.bodies()]
    with (
        tempfile.TemporaryDirectory(prefix="o11y-range-") as home,
        start_o11y(Path(home) / "data", Path(home) / "log") as server,
    ):
        connection = Connection(server.url)
        for body in bodies[:-slides]:
            _write(connection, server, body)
        for slide, body in enumerate(bodies[-slides:]):
            _write(connection, server, body)
            end_s = workload.end_ms // 1000 + (slide + 1 - slides) * STEP_S
            for name, query in QUERIES.items():
                _ask(connection, server, query, end_s, costs[name], counts=slide >= FILLING)
        connection.close()
    for cost in costs.values():
        cost.without_ms /= slides - FILLING
        cost.with_ms /= slides - FILLING
    return costs


def _write(connection: Connection, server: Server, body: bytes) -> None:
    reply = connection.ask(post(server.url, "/api/v1/write", WRITE, body))
    assert reply.status == 204, reply


def _ask(
    connection: Connection, server: Server, query: str, end_s: int, cost: Cost, *, counts: bool
) -> None:
    """Asks both ways."""
    parameters = {
        "query": query, "start": f"{end_s - SPAN_S}", "end": f"{end_s}", "step": f"{STEP_S}",
    }  # fmt: skip
    pid = server.process.pid
    began = cpu_seconds(pid)
    without = connection.ask(get(server.url, "/api/v1/query_range", parameters | {"nocache": "1"}))
    between = cpu_seconds(pid)
    cached = connection.ask(get(server.url, "/api/v1/query_range", parameters))
    assert cached.body == without.body, query
    if counts:
        cost.without_ms += (between - began) * 1000
        cost.with_ms += (cpu_seconds(pid) - between) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=100, help="of 100 series each")
    parser.add_argument("--slides", type=int, default=40, help="how often the dashboard asks")
    arguments = parser.parse_args()
    print(f"{'query':<14} {'without':>10} {'with':>10}   CPU ms a query")
    for name, cost in measure(arguments.instances, arguments.slides).items():
        print(f"{name:<14} {cost.without_ms:>10.1f} {cost.with_ms:>10.1f}")


if __name__ == "__main__":
    main()
