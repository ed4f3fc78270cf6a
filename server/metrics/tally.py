"""Tallies: counts kept as plain numbers and turned into metrics when somebody asks.

A metric of prometheus-client takes a lock and several calls for each number that it adds, which
is a tenth of what a narrow query costs; these take an addition.
"""

from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client.core import HistogramMetricFamily


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
