"""The query rows: every answer is checked, then the servers are asked in turn."""

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from benchmarks.check import compare
from benchmarks.http1 import Connection
from benchmarks.idle import BUSY_SHARE
from benchmarks.lines import Figures, Line
from benchmarks.peers import PROMETHEUS, VICTORIA_METRICS, Target
from benchmarks.processes import cpu_seconds
from benchmarks.queries import Query
from benchmarks.send import quantile
from benchmarks.workload import Workload

FEWEST = 3
"""So often at least every query is repeated on every server."""
AFTER_S, LONGEST_AFTER_S = 0.005, 0.5
"""Behind an answer that took as long, the next server is asked once this one has done nothing for
so long, or after the longest wait: what a garbage collector does then is of that answer and must
not slow another's. Behind quick ones there is nothing, and a wait would let all caches go cold."""


@dataclass
class _Asked:
    """One server's part of a query row."""

    target: Target
    connection: Connection
    took_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    size: int = 0

    def ask(self, query: Query, workload: Workload, repetition: int) -> bytes:
        """The body of a successful answer; RuntimeError for another one."""
        request = query.request(self.target.url, workload, repetition)
        before_s = self._cpu_s()
        began = time.perf_counter()
        reply = self.connection.ask(request)
        took_s = time.perf_counter() - began
        if reply.status != 200:
            raise RuntimeError(f"{query.name}: {reply.status} {reply.body[:300]!r}")
        self.took_ms.append(took_s * 1000)
        after_s = self._rested_cpu_s() if took_s > AFTER_S else self._cpu_s()
        self.cpu_ms.append((after_s - before_s) * 1000)
        self.size = len(reply.body)
        return reply.body

    def try_to_ask(self, query: Query, workload: Workload, repetition: int) -> dict[str, list[str]]:
        """What went wrong, by the server's name."""
        try:
            self.ask(query, workload, repetition)
        except (RuntimeError, OSError) as error:
            return {self.target.name: [str(error)]}
        return {}

    def forget(self) -> None:
        """What was asked until now does not count."""
        self.took_ms.clear()
        self.cpu_ms.clear()

    def is_done(self, budget_s: float) -> bool:
        return len(self.took_ms) >= FEWEST and sum(self.took_ms) > budget_s * 1000

    @property
    def figures(self) -> Figures:
        found = {
            "p50": statistics.median(self.took_ms),
            "p95": quantile(self.took_ms, 0.95),
            "repetitions": len(self.took_ms),
            "answer_bytes": self.size,
        }
        if self.target.pid is not None:
            found["cpu"] = statistics.fmean(self.cpu_ms)
        return found

    def _rested_cpu_s(self) -> float:
        """The CPU time when the server has finished what it does after its answer."""
        until = time.monotonic() + LONGEST_AFTER_S
        before_s, now_s = -1.0, self._cpu_s()
        while now_s - before_s > AFTER_S * BUSY_SHARE and time.monotonic() < until:
            time.sleep(AFTER_S)
            before_s, now_s = now_s, self._cpu_s()
        return now_s

    def _cpu_s(self) -> float:
        return cpu_seconds(self.target.pid) if self.target.pid is not None else 0.0


def ask_all(
    query: Query,
    targets: Sequence[Target],
    workload: Workload,
    cores: int,
    budget_s: float,
) -> tuple[Line, Mapping[str, list[str]]]:
    """The line of *query*, and what differs from the reference by the server's name.

    The servers are asked in turn, repetition by repetition; one that has used *budget_s* is left
    out, after FEWEST repetitions. The first answers warm up and are compared.
    """
    with ExitStack() as stack:
        asked = [
            _Asked(target, stack.enter_context(closing(Connection(target.url))))
            for target in targets
        ]
        found = _warmed_up(query, asked, workload)
        equal = [one for one in asked if one.target.name not in found]
        for repetition in range(1, query.repetitions + 1):
            for at in range(len(equal)):
                one = equal[(at + repetition) % len(equal)]
                if not one.is_done(budget_s) and one.target.name not in found:
                    found |= one.try_to_ask(query, workload, repetition)
    equal = [one for one in equal if one.target.name not in found]
    servers = {one.target.name: one.figures for one in equal}
    shown = ("p50", "p95", "cpu")
    return Line(query.letter, query.name, cores, "ms", "p50", shown, False, servers), found


def reference_of(targets: Sequence[Target]) -> Target | None:
    """With whom the others are compared: Prometheus, else the first; None without another."""
    if len(targets) < 2:
        return None
    return next((target for target in targets if target.kind == PROMETHEUS), targets[0])


def _warmed_up(query: Query, asked: Sequence[_Asked], workload: Workload) -> dict[str, list[str]]:
    """What is wrong with the first answers, by the server's name."""
    reference = reference_of([one.target for one in asked])
    answers: dict[str, bytes] = {}
    found: dict[str, list[str]] = {}
    for one in asked:
        try:
            answers[one.target.name] = one.ask(query, workload, 0)
            one.forget()
        except (RuntimeError, OSError) as error:
            found[one.target.name] = [str(error)]
    if reference is None or reference.name not in answers:
        return found
    for one in asked:
        if one.target is reference or one.target.name not in answers:
            continue
        exact = VICTORIA_METRICS not in (one.target.kind, reference.kind)
        wrong = compare(query, answers[one.target.name], answers[reference.name], exact=exact)
        if wrong:
            found[one.target.name] = wrong[:5]
    return found
