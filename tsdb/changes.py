"""Changes: since when which samples of a database have changed, for caches of answers.

A cache asks what was stored since it looked last. All it hears is the earliest time of that, so
an answer made of earlier samples only still holds. What is told may be too early, never too late.
"""

import threading
from bisect import bisect_right

EVERYTHING_MS = -(2**63)
"""Before all times: what has changed may have any."""
NOTHING_MS = 2**63 - 1
"""After all times: nothing has changed."""
_MAX_KNOWN = 1024
_COARSENESS = 1.05
"""By what share of its age a change may seem older, once there are so many."""
_NEAR_MS = 1000
"""Changes whose times differ by less count as one."""


class Changes:
    """For all threads. Changes are noted together with what readers see of them, or before it.

    Who reads the version before the samples therefore never takes a change for seen that was not.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._version = 0
        # Both rise: of a change that a later one goes behind nobody needs to hear.
        self._versions: list[int] = []
        self._lows_ms: list[int] = []

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    def note(self, from_ms: int) -> None:
        """Some samples of times from *from_ms* on have come, gone or changed."""
        with self._lock:
            self._version += 1
            versions, lows_ms = self._versions, self._lows_ms
            while lows_ms and lows_ms[-1] >= from_ms:
                del versions[-1], lows_ms[-1]
            if lows_ms and from_ms - lows_ms[-1] < _NEAR_MS:
                versions[-1] = self._version
                return
            versions.append(self._version)
            lows_ms.append(from_ms)
            if len(versions) > _MAX_KNOWN:
                self._thin_out()

    def note_everything(self) -> None:
        """Samples of any time may have changed."""
        self.note(EVERYTHING_MS)

    def earliest_since(self, version: int) -> int:
        """No sample of an earlier time has changed after *version*; NOTHING_MS where none has."""
        with self._lock:
            at = bisect_right(self._versions, version)
            return self._lows_ms[at] if at < len(self._lows_ms) else NOTHING_MS

    def _thin_out(self) -> None:
        """Makes one of changes that lie together: the older they are, the more."""
        newest_ms, age_ms = self._lows_ms[-1], 0.0
        versions: list[int] = []
        lows_ms: list[int] = []
        for version, low_ms in zip(reversed(self._versions), reversed(self._lows_ms), strict=True):
            if versions and newest_ms - low_ms <= age_ms * _COARSENESS:
                lows_ms[-1] = low_ms
            else:
                versions.append(version)
                lows_ms.append(low_ms)
                age_ms = newest_ms - low_ms
        self._versions, self._lows_ms = versions[::-1], lows_ms[::-1]
