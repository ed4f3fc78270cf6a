"""Throttle: wrong keys are answered ever more slowly, address by address.

An address may be wrong often before it is slowed: agents come back every second after a key was
revoked, and behind a proxy everybody has its address. Then failures are answered no faster than
one a spacing. Once so many wait that the last would be answered after MAX_DELAY_SECONDS, keys from
there that were never right are not even looked at.
"""

import threading
import time
from collections.abc import Callable

FREE_FAILURES = 100
SPACING_SECONDS = 0.05
MAX_DELAY_SECONDS = 2.0
MAX_ADDRESSES = 10_000


class Throttle:
    """The failures of every address. Any thread may call any method."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}
        self.failures = 0

    def failed(self, address: str) -> float:
        """One more failure: the seconds to wait before it is answered."""
        now = self._clock()
        with self._lock:
            self.failures += 1
            latest = now + MAX_DELAY_SECONDS + FREE_FAILURES * SPACING_SECONDS
            due = min(max(self._due.pop(address, now), now) + SPACING_SECONDS, latest)
            if len(self._due) >= MAX_ADDRESSES:
                del self._due[next(iter(self._due))]
            self._due[address] = due
            return max(0.0, due - now - FREE_FAILURES * SPACING_SECONDS)

    def closed(self, address: str) -> bool:
        """Whether so many failures wait that no new key is looked at."""
        waiting = self._due.get(address, 0.0) - self._clock()
        return waiting >= MAX_DELAY_SECONDS + (FREE_FAILURES - 1) * SPACING_SECONDS
