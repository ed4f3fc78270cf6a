"""Small queries a second over several connections, and what each costs the server."""

import math
import time
from collections.abc import Mapping, Sequence

from benchmarks.http1 import Answered, drive
from benchmarks.lines import Figures, Line
from benchmarks.peers import Target
from benchmarks.processes import cpu_seconds
from benchmarks.queries import SHIFTS, Query
from benchmarks.workload import Workload

CONNECTIONS = [1, 4, 16]
TURNS = 3
"""In so many parts the servers are asked, in turn."""


class _Load:
    """Asks for *seconds* from the first request on, each connection the next of *requests*."""

    def __init__(self, requests: Sequence[bytes], seconds: float) -> None:
        self.count = 0
        self._requests, self._seconds = requests, seconds
        self._began = self._last = math.inf

    def due(self, connection: int) -> bytes | None:
        now = time.perf_counter()
        self._began = min(self._began, now)
        if now > self._began + self._seconds:
            return None
        return self._requests[(self.count + connection) % len(self._requests)]

    def answered(self, answer: Answered) -> None:
        if answer.reader.status != 200:
            raise RuntimeError(f"{answer.reader.status} {answer.reader.reply.body[:300]!r}")
        self.count += 1
        self._last = time.perf_counter()

    @property
    def wall_s(self) -> float:
        """From the first request to the last answer."""
        return self._last - self._began


class _Total:
    """What one server did with one number of connections."""

    def __init__(self) -> None:
        self.count = 0
        self.wall_s = self.cpu_s = self.own_s = 0.0

    def add(self, target: Target, requests: Sequence[bytes], connections: int, s: float) -> None:
        """Loads *target* for *s* seconds."""
        before_s = cpu_seconds(target.pid) if target.pid is not None else 0.0
        own_s = time.process_time()
        load = _Load(requests, s)
        drive(target.url, connections, load.due, load.answered)
        self.own_s += time.process_time() - own_s
        self.wall_s += load.wall_s
        self.count += load.count
        if target.pid is not None:
            self.cpu_s += cpu_seconds(target.pid) - before_s


def load_all(
    query: Query, targets: Sequence[Target], workload: Workload, cores: int, seconds: float
) -> list[Line]:
    """Queries a second, and server CPU in microseconds a query, at each of CONNECTIONS.

    Every server is asked for *seconds* in all at each number. *sender* is the share of a core that
    our side took at the largest number: near 1, the sender and not the server was the limit.
    """
    requests = {
        target.name: [query.request(target.url, workload, n) for n in range(SHIFTS)]
        for target in targets
    }
    totals = {(t.name, count): _Total() for t in targets for count in CONNECTIONS}
    for count in CONNECTIONS:
        for turn in range(TURNS):
            for at in range(len(targets)):
                target = targets[(at + turn) % len(targets)]
                part_s = seconds / TURNS
                totals[target.name, count].add(target, requests[target.name], count, part_s)
    return _lines(query, targets, totals, cores)


def _lines(
    query: Query,
    targets: Sequence[Target],
    totals: Mapping[tuple[str, int], _Total],
    cores: int,
) -> list[Line]:
    rates: dict[str, Figures] = {}
    costs: dict[str, Figures] = {}
    for target in targets:
        own = {count: totals[target.name, count] for count in CONNECTIONS}
        most = own[CONNECTIONS[-1]]
        rates[target.name] = {f"{n}": t.count / t.wall_s for n, t in own.items()}
        rates[target.name]["sender"] = most.own_s / most.wall_s
        if target.pid is not None:
            costs[target.name] = {f"{n}": t.cpu_s / t.count * 1e6 for n, t in own.items()}
    shown, most_key = tuple(map(str, CONNECTIONS)), f"{CONNECTIONS[-1]}"
    name = f"{query.letter}-load"
    cpu = f"{name}-cpu"
    return [
        Line(name, f"{query.letter} under load", cores, "/s", most_key, shown, True, rates),
        Line(cpu, f"{query.letter} under load, CPU", cores, "us", most_key, shown, False, costs),
    ]
