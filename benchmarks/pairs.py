"""Two versions of ours, measured in turn: ratios of pairs that saw the same noise."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks import idle, ingest_rows, peers
from benchmarks.http1 import Connection
from benchmarks.peers import OURS, Peer
from benchmarks.processes import cpu_seconds
from benchmarks.queries import Query
from benchmarks.send import Shards
from benchmarks.workload import Workload

OLD, NEW = "old", "new"
TURN_S = 0.03
"""A turn asks a small query so often that it takes about as long."""
MOST_A_TURN = 100


@dataclass(frozen=True)
class Paired:
    """One figure of both versions, pair by pair; less is better."""

    title: str
    unit: str
    old: tuple[float, ...]
    new: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """New by old, of each pair."""
        return [new / old for old, new in zip(self.old, self.new, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the pairs' ratios."""
        return statistics.median(self.ratios)


def ingest_pairs(
    start: Callable[[str, Path], Peer], shards: Shards, pairs: int, home: Path
) -> Paired:
    """Server CPU of the ingest into fresh servers that *start* makes, *pairs* times."""
    old, new = [], []
    for number in range(pairs):
        with ExitStack() as stack:
            names = _turned([OLD, NEW], number)
            running = [
                stack.enter_context(start(name, home / f"pair-{number}" / name)) for name in names
            ]
            found = ingest_rows.ingest_together(running, shards)
            samples = found[OLD]["samples"]
            old.append(found[OLD]["cpu_s"] / samples * 1e9)
            new.append(found[NEW]["cpu_s"] / samples * 1e9)
    return Paired("ingest, CPU a sample", "ns", tuple(old), tuple(new))


def query_pairs(
    query: Query, running: Sequence[Peer], workload: Workload, pairs: int
) -> list[Paired]:
    """Time and server CPU of *query* on both of *running*, *pairs* times in turn."""
    took: dict[str, list[float]] = {OLD: [], NEW: []}
    busy: dict[str, list[float]] = {OLD: [], NEW: []}
    with ExitStack() as stack:
        asked = {
            peer.name: (peer, stack.enter_context(closing(Connection(peer.url))))
            for peer in running
        }
        count = max(_count(*one, query, workload) for one in asked.values())
        for number in range(pairs):
            for name in _turned([OLD, NEW], number):
                wall_ms, cpu_ms = _turn(*asked[name], query, workload, count, number)
                took[name].append(wall_ms)
                busy[name].append(cpu_ms)
    return [
        Paired(query.name, "ms", tuple(took[OLD]), tuple(took[NEW])),
        Paired(f"{query.name}, CPU", "ms", tuple(busy[OLD]), tuple(busy[NEW])),
    ]


def loaded(
    start: Callable[[str, Path], Peer], shards: Shards, home: Path, stack: ExitStack
) -> list[Peer]:
    """Both versions with all samples, started within *stack*."""
    running = [stack.enter_context(start(name, home / name)) for name in (OLD, NEW)]
    ingest_rows.ingest_together(running, shards)
    return running


def starter(programs: dict[str, Path], cores: Sequence[int]) -> Callable[[str, Path], Peer]:
    """Starts the program of a name on *cores*, and waits until it is idle."""

    def start(name: str, home: Path) -> Peer:
        peer = peers.start(name, home, cores, kind=OURS, program=programs[name])
        idle.wait([peer.pid], idle.RESTED_S)
        return peer

    return start


def _count(peer: Peer, connection: Connection, query: Query, workload: Workload) -> int:
    """How often a turn asks, by the second of two answers."""
    _turn(peer, connection, query, workload, 1, 0)
    wall_ms, _ = _turn(peer, connection, query, workload, 1, 1)
    return max(1, min(MOST_A_TURN, int(TURN_S * 1000 / wall_ms)))


def _turn(
    peer: Peer, connection: Connection, query: Query, workload: Workload, count: int, number: int
) -> tuple[float, float]:
    """(Milliseconds, CPU milliseconds) a query, of *count* in a row."""
    requests = [query.request(peer.url, workload, number * count + n) for n in range(count)]
    before_s, began = cpu_seconds(peer.pid), time.perf_counter()
    for request in requests:
        reply = connection.ask(request)
        if reply.status != 200:
            raise RuntimeError(f"{query.name}: {reply.status} {reply.body[:300]!r}")
    took_s, cpu_s = time.perf_counter() - began, cpu_seconds(peer.pid) - before_s
    return took_s * 1000 / count, cpu_s * 1000 / count


def _turned(names: list[str], number: int) -> list[str]:
    return names if number % 2 == 0 else names[::-1]
