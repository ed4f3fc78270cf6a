"""Measures how small ours, Prometheus and VictoriaMetrics store the workload; docs/benchmarks.md.

python -m benchmarks.size --minutes 10
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import numpy.typing as npt

from benchmarks import entropy, peers
from benchmarks.peers import Peer
from benchmarks.processes import scratch
from benchmarks.remote_write import Sender, compress, encode_labels, field, varint
from benchmarks.send import settle
from benchmarks.servers import Absent
from benchmarks.workload import SERIES_PER_INSTANCE, Workload, labels_of, scrape_bytes

COUNTERS, BUCKETS = "http_requests_total", "http_request_duration_seconds_bucket"
NOISE, MEMORY = "node_cpu_usage", "memory_used_bytes"
DECIMALS, CONSTANTS = "temperature_celsius", "machine_limit"
CLASSES = {
    "slow counters": (COUNTERS, "301", "404", "429", "500"),
    "fast counters": (COUNTERS, "200"),
    "buckets": (BUCKETS,),
    "decimals": (DECIMALS,),
    "memory-like integers": (MEMORY,),
    "constants": (CONSTANTS,),
    "full-mantissa noise": (NOISE,),
}
"""Title -> metric, and the statuses where not all of its series belong to the class."""
ALL = [metric for metric, *statuses in CLASSES.values() if statuses != ["200"]]
MIXES = {"whole mix": ALL, "without noise": [metric for metric in ALL if metric != NOISE]}
PAST_S = 7200
"""The last sample is so old: nothing is too new to be sealed or merged."""
LOGS = {"wal"}


def main() -> int:
    options = _options()
    workload = Workload(
        instances=options.instances, span_s=round(options.hours * 3600), seed=options.seed
    )
    end_s = (int(time.time()) - PAST_S) // 60 * 60
    workload = replace(workload, start_ms=(end_s - workload.span_s) * 1000)
    chosen = [title for title in [*MIXES, *CLASSES] if not options.only or title in options.only]
    with scratch("o11y-size-", options.dir) as home:
        results = _measure(options, workload, chosen, home)
    print(_markdown(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _measure(
    options: argparse.Namespace, workload: Workload, chosen: list[str], home: Path
) -> dict[str, Any]:
    running: dict[tuple[str, str], Peer] = {}
    sizes: dict[str, dict[str, float]] = {title: {} for title in chosen}
    samples: dict[str, int] = {}
    with ExitStack() as stack:
        for title in chosen:
            bodies = list(bodies_of(workload, title))
            samples[title] = sum(count for _, count in bodies)
            for name in options.peers.split(","):
                try:
                    peer = peers.start(name, home / f"{title} {name}".replace(" ", "-"), [0, 1])
                except Absent as absent:
                    print(f"without {name}: {absent}", file=sys.stderr)
                    continue
                running[title, name] = stack.enter_context(peer)
                _send(peer, [body for body, _ in bodies])
                print(f"{name} has {samples[title]:,} samples of: {title}", file=sys.stderr)
        time.sleep(60 * options.minutes)
        for _, peer in sorted(running.items()):
            _force_merge(peer)
        for (title, name), peer in running.items():
            peer.server.process.terminate(300)
            sizes[title][name] = _bytes_per_sample(peer, samples[title])
    return {
        "workload": asdict(workload) | {"series": workload.series, "samples": workload.samples},
        "minutes": options.minutes,
        "bytes_per_sample": sizes,
        "entropy": _entropies(workload),
    }


def bodies_of(workload: Workload, title: str) -> Iterator[tuple[bytes, int]]:
    """The requests of a class or mix, with the samples in each, in the order of the scrapes."""
    order = np.argsort(workload.offsets_ms, kind="stable").tolist()
    scrapes, series = {}, 0
    for instance in order:
        kept, count = _kept_bytes(workload, instance, title)
        scrapes[instance] = np.ascontiguousarray(scrape_bytes(workload, instance)[:, kept])
        series = count
    waiting: list[memoryview] = []
    for tick in range(workload.ticks):
        for instance in order:
            waiting.append(scrapes[instance][tick].data)
            if len(waiting) * series >= workload.samples_per_request:
                yield compress(b"".join(waiting)), len(waiting) * series
                waiting.clear()
    if waiting:
        yield compress(b"".join(waiting)), len(waiting) * series


def _kept_bytes(workload: Workload, instance: int, title: str) -> tuple[npt.NDArray[np.bool_], int]:
    """Which bytes of a scrape belong to the class or mix, and how many series they are."""
    sample = field(2, b"\x09" + bytes(8) + b"\x10" + varint(workload.start_ms))
    kept = []
    count = 0
    for labels in labels_of(instance):
        wanted = belongs(labels, title)
        count += wanted
        kept.append(np.full(len(field(1, encode_labels(labels) + sample)), wanted))
    return np.concatenate(kept), count


def belongs(labels: Mapping[str, str], title: str) -> bool:
    """Whether the series with *labels* is in the class or mix *title*."""
    if title in MIXES:
        return labels["__name__"] in MIXES[title]
    metric, *statuses = CLASSES[title]
    return labels["__name__"] == metric and (not statuses or labels["status"] in statuses)


def _send(peer: Peer, bodies: list[bytes]) -> None:
    sender = Sender(peer.server.url, timeout_s=120)
    try:
        for body in bodies:
            status, text = sender.send(body)
            if status // 100 != 2:
                raise RuntimeError(f"{peer.name} refused a request: {status} {text[:300]}")
    finally:
        sender.close()


def _force_merge(peer: Peer) -> None:
    """Has VictoriaMetrics merge to the end, which it otherwise does at a time of its own."""
    if peer.name == peers.VICTORIA_METRICS:
        with urlopen(f"{peer.server.url}/internal/force_merge", timeout=60) as answer:
            answer.read()
        settle(peer.server)


def _bytes_per_sample(peer: Peer, samples: int) -> float:
    """All files but those of logs over all samples; of Prometheus, its blocks over theirs.

    What Prometheus has not yet in blocks is in its log and, in part, in mapped head chunks.
    """
    if peer.name != peers.PROMETHEUS:
        return _stored_bytes(peer.data) / samples
    blocks = list(peer.data.glob("*/meta.json"))
    in_blocks: int = sum(json.loads(file.read_text())["stats"]["numSamples"] for file in blocks)
    return sum(_stored_bytes(file.parent) for file in blocks) / in_blocks


def _stored_bytes(directory: Path) -> int:
    """The bytes of all files but those of logs; of sparse ones, what is there."""
    total = 0
    for file in directory.rglob("*"):
        if file.is_file() and not LOGS & set(file.relative_to(directory).parts):
            status = file.stat()
            total += min(status.st_size, status.st_blocks * 512)
    return total


def _entropies(workload: Workload) -> dict[str, float]:
    """By title: that of the values, with the times of the scrapes they came in."""
    by_class = entropy.bytes_per_sample(workload)
    shares: dict[str, dict[str, int]] = {}
    for title in [*MIXES, *CLASSES]:
        shares[title] = {}
        for labels in labels_of(0):
            if belongs(labels, title):
                name = entropy.class_of(labels)
                shares[title][name] = shares[title].get(name, 0) + 1
    return {
        title: sum(by_class[name] * count for name, count in own.items()) / sum(own.values())
        + by_class["times"] * SERIES_PER_INSTANCE / sum(own.values())
        for title, own in shares.items()
    }


def _markdown(results: Mapping[str, Any]) -> str:
    sizes, bounds = results["bytes_per_sample"], results["entropy"]
    names = [name for name in peers.NAMES if any(name in row for row in sizes.values())]
    lines = [
        f"| bytes a sample | entropy | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for title, row in sizes.items():
        cells = [f"{row[name]:.4f}" if name in row else "" for name in names]
        lines.append(f"| {title} | {bounds[title]:.4f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.size", description=__doc__)
    parser.add_argument("--instances", type=int, default=100, help="of 100 series each")
    parser.add_argument("--hours", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0, help="of background work")
    parser.add_argument("--peers", default=",".join(peers.NAMES))
    parser.add_argument("--only", action="append", help="one row of the table; may be repeated")
    parser.add_argument("--dir", type=Path, help="where the data lie meanwhile")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
