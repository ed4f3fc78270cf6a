"""ExemplarRing: the last exemplars of one tenant.

So many are kept over all series; a new one takes the place of the oldest. Within a series they
rise in time.
"""

import struct
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum, auto
from itertools import chain, islice
from typing import NamedTuple

from series.labels import Labels
from series.matcher import Matcher
from series.ports import Exemplar, SeriesExemplars

MAX_CHARACTERS = 128
"""Of all names and values of an exemplar's labels together, as in OpenMetrics."""

_LOOK_BACK = 256
"""So many of a series' latest exemplars are looked at for one that is sent again."""


class Verdict(Enum):
    """What becomes of an exemplar."""

    TAKEN = auto()
    DUPLICATE = auto()
    OUT_OF_ORDER = auto()
    TOO_LONG = auto()
    MALFORMED = auto()


class Kept(NamedTuple):
    """An exemplar; ``series_key`` and ``key`` are the canonical keys of series and labels."""

    series_key: bytes
    time_ms: int
    value: float
    key: bytes

    def is_same(self, other: "Kept") -> bool:
        """Whether the two say the same, the value bit for bit."""
        return (
            self.time_ms == other.time_ms
            and self.key == other.key
            and struct.pack("<d", self.value) == struct.pack("<d", other.value)
        )

    def is_before(self, other: "Kept") -> bool:
        """Whether this one may not follow *other*: Prometheus orders by time, then by value."""
        if self.time_ms != other.time_ms:
            return self.time_ms < other.time_ms
        return self.value < other.value


class ExemplarRing:
    """See the module's head. One thread at a time adds; any thread may read."""

    def __init__(self, capacity: int) -> None:
        """Keeps up to *capacity* exemplars; none at all where that is 0."""
        self.capacity = capacity
        self._lock = threading.Lock()
        self._order: deque[Kept] = deque()
        self._of_series: dict[bytes, deque[Kept]] = {}

    @property
    def count(self) -> int:
        return len(self._order)

    def judge(self, found: Iterable[Kept]) -> list[Verdict]:
        """What would become of *found* if they came in this order; takes none."""
        fresh: dict[bytes, list[Kept]] = {}
        verdicts = []
        for one in found:
            new = fresh.setdefault(one.series_key, [])
            newest_first = chain(reversed(new), reversed(self._of_series.get(one.series_key, ())))
            verdict = _judge(one, islice(newest_first, _LOOK_BACK))
            if verdict is Verdict.TAKEN:
                new.append(one)
            verdicts.append(verdict)
        return verdicts

    def add(self, taken: Iterable[Kept]) -> None:
        """Adds exemplars that were judged to be TAKEN."""
        with self._lock:
            for one in taken:
                self._order.append(one)
                self._of_series.setdefault(one.series_key, deque()).append(one)
            while len(self._order) > self.capacity:
                oldest = self._order.popleft()
                of_series = self._of_series[oldest.series_key]
                of_series.popleft()
                if not of_series:
                    del self._of_series[oldest.series_key]

    def all(self) -> list[Kept]:
        """All that is kept, in the order of arrival."""
        with self._lock:
            return list(self._order)

    def select(
        self, matcher_sets: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int
    ) -> list[SeriesExemplars]:
        """See ``series.ports.ExemplarSource``."""
        with self._lock:
            rows = [(key, tuple(kept)) for key, kept in self._of_series.items()]
        found = []
        for key, kept in rows:
            inside = [one for one in kept if start_ms <= one.time_ms <= end_ms]
            if not inside:
                continue
            labels = Labels.from_key(key)
            if any(_matches(labels, matchers) for matchers in matcher_sets):
                found.append(SeriesExemplars(labels, tuple(map(_exemplar, inside))))
        return sorted(found, key=lambda one: one.labels)


def _judge(one: Kept, newest_first: Iterator[Kept]) -> Verdict:
    """What becomes of *one* after others of its series.

    One that is sent again with newer ones is a duplicate and not out of order: senders repeat the
    exemplars of all buckets of a histogram until there are new ones.
    """
    try:
        pairs = Labels.from_key(one.key).pairs
    except ValueError:
        return Verdict.MALFORMED
    if sum(len(name) + len(value) for name, value in pairs) > MAX_CHARACTERS:
        return Verdict.TOO_LONG
    newest: Kept | None = None
    for other in newest_first:
        newest = newest or other
        if other.time_ms < one.time_ms:
            break
        if one.is_same(other):
            return Verdict.DUPLICATE
    if newest is not None and one.is_before(newest):
        return Verdict.OUT_OF_ORDER
    return Verdict.TAKEN


def _matches(labels: Labels, matchers: tuple[Matcher, ...]) -> bool:
    return all(matcher.matches(labels.get(matcher.name)) for matcher in matchers)


def _exemplar(one: Kept) -> Exemplar:
    return Exemplar(Labels.from_key(one.key), one.value, one.time_ms)
