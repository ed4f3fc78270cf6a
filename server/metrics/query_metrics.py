"""What queries cost: how many wait and run, how long they take, and who asks for how much."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from series.ports import Context
from server.metrics.tally import Durations

MAX_ORGS = 50
"""So many organizations have series of their own; the others share one."""
OTHER = "other"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class QueryMetrics:
    """Safe from any thread; a collector of prometheus-client's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.costs = OrgCosts()
        self._lock = threading.Lock()
        self._durations: dict[str, Durations] = {}
        self._waits = Durations(_SECONDS)
        self._queued = 0
        self._running = 0
        registry.register(self.costs)
        registry.register(self)

    def asked(self, kind: str, org: Callable[[], str], context: Context) -> "Asking":
        """Follows one query while what this returns, a context manager, is left open.

        *org* tells at the end who asked; '' is somebody without data.
        """
        return Asking(self, kind, org, context)

    def comes(self) -> None:
        with self._lock:
            self._queued += 1

    def ends(self, asking: "Asking") -> None:
        with self._lock:
            asking.ended = True
            if asking.begun:
                self._running -= 1
            else:
                self._queued -= 1
        self.answered(asking.kind, asking.org(), asking.context, asking.since_seconds)

    def answered(self, kind: str, org: str, context: Context, since_seconds: float) -> None:
        """Counts a query of *org* that came at *since_seconds*, and what has been read for it."""
        seconds = time.monotonic() - since_seconds
        with self._lock:
            durations = self._durations.get(kind)
            if durations is None:
                durations = self._durations[kind] = Durations(_SECONDS)
            durations.add(seconds)
        self.costs.add(org, seconds, context.samples_read)

    def begins(self, asking: "Asking") -> None:
        with self._lock:
            if asking.ended or asking.begun:
                return
            asking.begun = True
            self._queued -= 1
            self._running += 1
            self._waits.add(time.monotonic() - asking.since_seconds)

    def collect(self) -> Iterator[Metric]:
        durations = HistogramMetricFamily(
            "o11y_query_duration_seconds",
            "Time from a query's arrival to its first answered bytes.",
            labels=["kind"],
        )
        waits = HistogramMetricFamily(
            "o11y_query_wait_seconds", "Time a query waited for a worker.", labels=[]
        )
        with self._lock:
            for kind, tally in self._durations.items():
                tally.fill(durations, [kind])
            self._waits.fill(waits, [])
            queued, running = self._queued, self._running
        yield from (durations, waits)
        yield GaugeMetricFamily("o11y_queries_queued", "Queries that wait.", value=queued)
        yield GaugeMetricFamily("o11y_queries_running", "Queries being evaluated.", value=running)


class Asking:
    """One query on its way."""

    __slots__ = ("_metrics", "begun", "context", "ended", "kind", "org", "since_seconds")

    def __init__(
        self, metrics: QueryMetrics, kind: str, org: Callable[[], str], context: Context
    ) -> None:
        self._metrics = metrics
        self.kind = kind
        self.org = org
        self.context = context
        self.since_seconds = context.began_seconds
        self.begun = False
        self.ended = False

    def __enter__(self) -> Self:
        self._metrics.comes()
        return self

    def __exit__(self, *error: object) -> None:
        self._metrics.ends(self)

    def begins(self) -> None:
        """A worker has taken it up."""
        self._metrics.begins(self)


@dataclass(slots=True)
class _Cost:
    queries: int = 0
    seconds: float = 0.0
    samples: int = 0

    def add(self, more: "_Cost") -> None:
        self.queries += more.queries
        self.seconds += more.seconds
        self.samples += more.samples


class OrgCosts:
    """The queries of each organization; a collector of prometheus-client's.

    The first MAX_ORGS by name have series of their own. Who leaves them for an earlier name has
    all it ever cost added to the others, and stays there: every series only grows.
    """

    def __init__(self, max_orgs: int = MAX_ORGS) -> None:
        self._max_orgs = max_orgs
        self._lock = threading.Lock()
        self._own: dict[str, _Cost] = {}
        self._others = _Cost()

    def add(self, org: str, seconds: float, samples: int) -> None:
        """Counts one query of *org*; that of nobody ('') with the others."""
        with self._lock:
            cost = self._cost_of(org)
            cost.queries += 1
            cost.seconds += seconds
            cost.samples += samples

    def _cost_of(self, org: str) -> _Cost:
        if not org or org == OTHER:
            return self._others
        if org in self._own:
            return self._own[org]
        if len(self._own) >= self._max_orgs:
            last = max(self._own)
            if org > last:
                return self._others
            self._others.add(self._own.pop(last))
        return self._own.setdefault(org, _Cost())

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            costs = {**self._own, OTHER: self._others}
            rows = [(org, c.queries, c.seconds, c.samples) for org, c in sorted(costs.items())]
        queries = _by_org("o11y_org_queries", "Queries, by organization.")
        seconds = _by_org("o11y_org_query_seconds", "Time spent on them, with that in the queue.")
        samples = _by_org("o11y_org_query_samples", "Samples read for them.")
        for org, count, spent, read in rows:
            queries.add_metric([org], count)
            seconds.add_metric([org], spent)
            samples.add_metric([org], read)
        yield from (queries, seconds, samples)


def _by_org(name: str, help_text: str) -> CounterMetricFamily:
    return CounterMetricFamily(name, help_text, labels=["org"])
