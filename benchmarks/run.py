"""Measures ours beside Debian's Prometheus and VictoriaMetrics; see docs/benchmarks.md.

python -m benchmarks.run --quick
"""

import argparse
import os
import platform
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import peers, queries, report
from benchmarks.peers import Peer
from benchmarks.processes import memory_bytes
from benchmarks.queries import Asker, Query
from benchmarks.send import Request, ingest, settle
from benchmarks.servers import Absent
from benchmarks.workload import Workload, starting_now


def main() -> int:
    options = _options()
    console = Console(stderr=True, width=120)
    workload = Workload(
        instances=options.instances,
        span_s=round(options.hours * 3600),
        step_s=options.step,
        samples_per_request=options.samples_per_request,
        seed=options.seed,
    )
    workload = replace(workload, start_ms=starting_now(workload))
    server_cores, own_cores = _split_cores(options.server_cores)
    os.sched_setaffinity(0, own_cores)

    console.print(f"preparing {workload.samples:,} samples of {workload.series:,} series")
    shards: list[list[Request]] = [[] for _ in range(options.senders)]
    for order, (shard, body, samples) in enumerate(workload.bodies(options.senders)):
        shards[shard].append(Request(body, samples, order))

    with tempfile.TemporaryDirectory(prefix="o11y-bench-", dir=options.dir) as home:
        results = _measure(options, workload, shards, Path(home), server_cores, console)
    report.print_tables(results, Console(width=120))
    if options.json:
        report.write_json(results, options.json)
    return 1 if results["differences"] else 0


def _measure(
    options: argparse.Namespace,
    workload: Workload,
    shards: list[list[Request]],
    home: Path,
    cores: list[int],
    console: Console,
) -> dict[str, Any]:
    results: dict[str, Any] = {
        "workload": asdict(workload) | {"series": workload.series, "samples": workload.samples},
        "senders": options.senders,
        "server_cores": len(cores),
        "machine": {"cores": os.cpu_count(), "processor": _processor()},
        "peers": {},
        "queries": {},
        "differences": {},
    }
    with ExitStack() as stack:
        running: list[Peer] = []
        for name in options.peers.split(","):
            try:
                peer = peers.start(name, home / name, cores)
            except Absent as absent:
                console.print(f"without {name}: {absent}")
                continue
            stack.enter_context(peer)
            running.append(peer)
            console.print(f"{name}: ingest")
            done = ingest(peer.server, shards)
            console.print(
                f"{name}: {done.per_second:,.0f} samples/s,"
                f" {done.per_cpu_second:,.0f} samples per CPU-second"
            )
            results["peers"][name] = {"ingest": done.as_dict()}
        if not options.quick:
            for peer in running:
                results["peers"][peer.name]["state"] = _state(peer, workload)
        for peer in running:
            peer.wait_for_compaction()
            settle(peer.server)
        for query in _chosen(options):
            _ask_all(query, running, workload, results, console)
    return results


def _state(peer: Peer, workload: Workload) -> dict[str, float]:
    """Disk after the ingest, start-up time and memory after a restart."""
    peer.wait_for_compaction()
    settle(peer.server)
    startup_s = peer.restart()
    settle(peer.server)
    everything, blocks = peer.disk_bytes()
    return {
        "startup_s": startup_s,
        "idle_bytes": memory_bytes(peer.server.process.pid),
        "disk_bytes_per_sample": blocks / workload.samples,
        "disk_with_logs_bytes_per_sample": everything / workload.samples,
    }


def _ask_all(
    query: Query,
    running: list[Peer],
    workload: Workload,
    results: dict[str, Any],
    console: Console,
) -> None:
    """Compares every peer's answer with the reference's, then times those that agree."""
    askers = {peer.name: Asker(peer.server.url, peer.extra) for peer in running}
    reference = (
        askers[peers.PROMETHEUS].ask(query, workload, 0) if peers.PROMETHEUS in askers else None
    )
    timings: dict[str, Any] = {}
    for peer in running:
        asker = askers[peer.name]
        try:
            found = []
            if reference is not None and peer.name != peers.PROMETHEUS:
                answer = asker.ask(query, workload, 0)
                found = queries.compare(query, answer, reference, exact=peer.exact)
            if found:
                results["differences"][f"{query.name} {peer.name}"] = found[:5]
            else:
                timings[peer.name] = asdict(asker.time(query, workload))
        except RuntimeError as error:
            results["differences"][f"{query.name} {peer.name}"] = [str(error)]
        finally:
            asker.close()
    results["queries"][query.name] = timings
    told = {name: f"{timing['p50_ms']:.3g} ms" for name, timing in timings.items()}
    console.print(f"{query.name}: {told}")


def _chosen(options: argparse.Namespace) -> list[Query]:
    if options.queries:
        letters = options.queries.split(",")
        return [q for q in queries.QUERIES if q.name.split("_")[0] in letters]
    if options.quick:
        return [q for q in queries.QUERIES if q.name in queries.QUICK]
    return queries.QUERIES


def _split_cores(count: int) -> tuple[list[int], list[int]]:
    """The last *count* cores for the servers, the others (or all) for the sender."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[-count:], cores[:-count] or cores


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ingest and d2, against Prometheus")
    parser.add_argument("--peers", help=f"comma-separated, of {','.join(peers.NAMES)}")
    parser.add_argument("--queries", help="letters, such as a,d2,n; default all")
    parser.add_argument("--instances", type=int, default=100, help="of 100 series each")
    parser.add_argument("--hours", type=float, default=6)
    parser.add_argument("--step", type=int, default=15, help="seconds between two scrapes")
    parser.add_argument("--samples-per-request", type=int, default=10_000)
    parser.add_argument("--senders", type=int, default=2, help="connections")
    parser.add_argument("--server-cores", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", type=Path, help="where the servers' data lie while it runs")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if options.peers is None:
        options.peers = ",".join(peers.NAMES[:2] if options.quick else peers.NAMES)
    if unknown := set(options.peers.split(",")) - set(peers.NAMES):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
