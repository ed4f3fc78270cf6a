"""Rates: how much a tenant may send a second, as buckets that fill up again."""

import threading
import time
from collections.abc import Callable

MAX_BUCKETS = 10_000


class Rates:
    """A token bucket a name. Any thread may call any method."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str, count: int, rate: float, burst: float) -> float:
        """Takes *count* tokens: 0, or the seconds until so many will be there, and none taken.

        The bucket holds *burst* tokens and gains *rate* a second; both may change between calls.
        A *rate* of 0 is no limit. *count* must not exceed *burst*.
        """
        if not rate:
            return 0.0
        now = self._clock()
        with self._lock:
            tokens, since = self._buckets.get(name, (burst, now))
            tokens = min(burst, tokens + (now - since) * rate)
            if tokens < count:
                self._buckets[name] = tokens, now
                return (count - tokens) / rate
            if len(self._buckets) >= MAX_BUCKETS and name not in self._buckets:
                self._forget(now)
            self._buckets[name] = tokens - count, now
            return 0.0

    def _forget(self, now: float) -> None:
        """Drops the half that was used least recently."""
        del now
        oldest = sorted(self._buckets, key=lambda name: self._buckets[name][1])
        for name in oldest[: MAX_BUCKETS // 2]:
            del self._buckets[name]
