"""Tallies: counts kept as plain numbers and turned into metrics when somebody asks.

A metric of prometheus-client takes a lock and several calls for each number that it adds, which
is a tenth of what a narrow query costs; these take an addition.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric


class Counts:
    """How many there were, by the values of some labels. Any thread may add. A collector."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._about = name, text
        self._labels = labels
        self._counts: dict[tuple[str, ...], int] = {}
        self._lock = threading.Lock()
        registry.register(self)

    def add(self, count: int, *values: str) -> None:
        """Adds *count* to the series whose labels have these *values*."""
        with self._lock:
            self._counts[values] = self._counts.get(values, 0) + count

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(*self._about, labels=self._labels)
        for values, count in list(self._counts.items()):
            family.add_metric(values, count)
        yield family


class Durations:
    """How many took how long. One thread at a time adds."""

    __slots__ = ("_bounds", "_counts", "_seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        """*bounds*: the buckets' upper bounds in seconds, ascending, without infinity."""
        self._bounds = tuple(map(float, bounds))
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._seconds += seconds

    def fill(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Adds to *family* the series of *labels*."""
        buckets = []
        total = 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(labels, buckets, self._seconds)
