"""The ingest rows: the same requests to all servers, in slices, so that noise hits all alike."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from benchmarks import idle, peers
from benchmarks.lines import Figures, Line
from benchmarks.peers import OURS, Target, awake_alone
from benchmarks.processes import cpu_seconds, memory_bytes
from benchmarks.send import Request, Sent, Shards, send
from benchmarks.servers import Absent
from benchmarks.workload import Workload, starting_now

SLICES = 8
"""In so many parts every server takes its requests, in turn with the others."""
INTERVAL = "o11y, interval=1s"
SMALL_INSTANCES = 32
"""Of the rows with small requests: 16 connections have two each."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class IngestRow:
    """*samples* a request over *senders* connections; *rows*: name of our server -> table row."""

    samples: int
    senders: int
    rows: Mapping[str, str]


LARGE = IngestRow(10_000, 2, {OURS: "ingest-10000"})
MEDIUM = IngestRow(500, 2, {OURS: "ingest-500"})
SMALL = [
    IngestRow(50, 1, {OURS: "ingest-50"}),
    IngestRow(50, 16, {OURS: "ingest-50-16", INTERVAL: "ingest-50-16-interval"}),
]


def small_workload(workload: Workload, samples: int) -> Workload:
    """Like *workload*, of SMALL_INSTANCES and about *samples* samples in all."""
    small = replace(workload, instances=SMALL_INSTANCES)
    ticks = max(2, samples // (SMALL_INSTANCES * len(small.columns)))
    return _now(replace(small, span_s=ticks * workload.step_s))


def medium_workload(workload: Workload, hours: float) -> Workload:
    """Like *workload*, of at most *hours*."""
    return _now(replace(workload, span_s=min(workload.span_s, round(hours * 3600))))


def prepare(workload: Workload, samples: int, senders: int) -> Shards:
    """The requests of *samples* samples for each of *senders* connections."""
    shards: list[list[Request]] = [[] for _ in range(senders)]
    asked = replace(workload, samples_per_request=samples)
    for order, (shard, body, count) in enumerate(asked.bodies(senders)):
        shards[shard].append(Request(body, count, order))
    return shards


def fresh_row(
    row: IngestRow,
    workload: Workload,
    names: Sequence[str],
    home: Path,
    cores: Sequence[int],
    say: Say,
) -> list[Line]:
    """Starts *names* in *home*, gives them *workload* as *row* says, and ends them."""
    shards = prepare(workload, row.samples, row.senders)
    if OURS in names:
        names = [*names, *(ours for ours in row.rows if ours != OURS)]
    with ExitStack() as stack:
        running: list[Target] = []
        for number, name in enumerate(names):
            sync: list[str] = []
            kind = name
            if name == INTERVAL:
                sync, kind = ["--wal-sync", "interval=1s"], OURS
            try:
                peer = peers.start(name, home / f"{number}", cores, *sync, kind=kind)
            except Absent as absent:
                say(f"without {name}: {absent}")
                continue
            running.append(stack.enter_context(peer))
        return lines_of(row, ingest_together(running, shards), len(cores))


def ingest_together(targets: Sequence[Target], shards: Shards) -> dict[str, Figures]:
    """Sends *shards* to all *targets* slice by slice; figures by name.

    A server that is not being sent to is stopped, so that its CPU time is of its own slices, and
    of what it does afterwards until it is idle.
    """
    pids = [target.pid for target in targets if target.pid is not None]
    idle.wait(pids, idle.RESTED_S)
    sent = {target.name: Sent() for target in targets}
    before_s = {pid: cpu_seconds(pid) for pid in pids}
    for number, part in enumerate(slices(shards, SLICES)):
        for at in range(len(targets)):
            target = targets[(at + number) % len(targets)]
            with awake_alone(target, targets):
                send(target.url, part, sent[target.name])
    quiet_s = idle.wait(pids)
    found: dict[str, Figures] = {}
    for target in targets:
        figures = found[target.name] = sent[target.name].figures
        if target.pid is not None:
            cpu_s = quiet_s[target.pid] - before_s[target.pid]
            figures["cpu_s"] = cpu_s
            figures["per_cpu_second"] = figures["samples"] / cpu_s
            figures["peak_bytes"] = memory_bytes(target.pid, "VmHWM")
    return found


def slices(shards: Shards, count: int) -> list[Shards]:
    """The requests of all shards in *count* parts of the time, each part by shards."""
    last = max(request.order for shard in shards for request in shard) + 1
    bounds = [last * number // count for number in range(count + 1)]
    parts: list[Shards] = [
        [[request for request in shard if low <= request.order < high] for shard in shards]
        for low, high in pairwise(bounds)
        if low < high
    ]
    return parts


def lines_of(row: IngestRow, found: Mapping[str, Figures], cores: int) -> list[Line]:
    """The lines of *row*, one for each sync mode of ours."""
    senders = f"{row.senders} sender{'s' if row.senders > 1 else ''}"
    lines = []
    for ours, name in row.rows.items():
        if ours not in found and ours != OURS:
            continue
        sync = "interval=1s" if ours == INTERVAL else "always"
        servers = {
            OURS if server == ours else server: figures
            for server, figures in found.items()
            if server == ours or server not in row.rows
        }
        title = f"ingest {row.samples:,} a request, {senders}, {sync}"
        shown = ("per_cpu_second", "per_second")
        lines.append(Line(name, title, cores, "", "per_cpu_second", shown, True, servers))
    return lines


def _now(workload: Workload) -> Workload:
    return replace(workload, start_ms=starting_now(workload))
