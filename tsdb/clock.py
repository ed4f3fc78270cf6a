"""Clock: the wall clock, and whether it can be believed.

A clock that jumps must not cost data: one that is set ten years ahead would have everything dropped
as older than the retention. So the wall clock is compared with one that only counts seconds. Where
it jumps, what was believed before goes on, second by second, until the wall clock either comes back
or has kept its new time for a day. At a start the manifests tell what was believed last.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

log = logging.getLogger("o11y.storage")

SLACK_MS = 60_000
"""A clock may be off by so much, or be set by so much at once, without being a jump."""
BELIEVED_SECONDS = 86_400.0
"""A clock that has jumped and then kept its time for so long is believed."""
_START_SLACK_MS = 86_400_000
"""So long a server may have stood still before its clock needs to be confirmed."""


class Clock:
    """See the module's head. Any thread may ask."""

    def __init__(
        self, now_ms: Callable[[], int], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._start_seconds = monotonic()
        self._base_ms, self._base_seconds = now_ms(), self._start_seconds
        self._seen_ms: int | None = None
        self._jumped_ms: int | None = None
        self._jumped_seconds = self._kept_since_seconds = 0.0

    def saw(self, clock_ms: int) -> None:
        """Tells what a clock that was believed said at some time in the past."""
        with self._lock:
            seconds = self._monotonic()
            if seconds - self._start_seconds >= BELIEVED_SECONDS:
                return
            self._seen_ms = clock_ms if self._seen_ms is None else max(self._seen_ms, clock_ms)
            now_ms = self._now_ms()
            is_near = self._seen_ms - SLACK_MS <= now_ms <= self._seen_ms + _START_SLACK_MS
            self._base_ms = now_ms if is_near else self._seen_ms
            self._base_seconds = seconds
            self._look()

    @property
    def earliest_ms(self) -> int:
        """No believable clock says less: what a retention counts back from."""
        return min(self.look())

    @property
    def latest_ms(self) -> int:
        """No believable clock says more: what is later is in the future."""
        return max(self.look())

    @property
    def is_doubted(self) -> bool:
        """Whether the wall clock has jumped and is not believed yet."""
        self.look()
        return self._jumped_ms is not None

    @property
    def believed_ms(self) -> int:
        """The time that is believed now."""
        return self.look()[0]

    def look(self) -> tuple[int, int]:
        """What is believed now, and what the wall clock says."""
        with self._lock:
            return self._look()

    def _look(self) -> tuple[int, int]:
        now_ms, seconds = self._now_ms(), self._monotonic()
        believed_ms = self._base_ms + round(1000 * (seconds - self._base_seconds))
        if abs(now_ms - believed_ms) <= SLACK_MS:
            self._believe(now_ms, seconds)
            return now_ms, now_ms
        kept_ms = None
        if self._jumped_ms is not None:
            kept_ms = self._jumped_ms + round(1000 * (seconds - self._jumped_seconds))
        if kept_ms is None or abs(now_ms - kept_ms) > SLACK_MS:
            self._kept_since_seconds = seconds
            log.warning(
                "the clock says %s where %s was to be expected; until it has kept its time for a"
                " day, or comes back, nothing is dropped for its age by the later of the two",
                _shown(now_ms),
                _shown(believed_ms),
            )
        self._jumped_ms, self._jumped_seconds = now_ms, seconds
        if seconds - self._kept_since_seconds >= BELIEVED_SECONDS:
            log.warning("the clock has kept its time for a day and is believed now")
            self._believe(now_ms, seconds)
            return now_ms, now_ms
        return believed_ms, now_ms

    def _believe(self, now_ms: int, seconds: float) -> None:
        self._base_ms, self._base_seconds = now_ms, seconds
        self._jumped_ms = None


def _shown(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError):
        return f"{time_ms} ms"
