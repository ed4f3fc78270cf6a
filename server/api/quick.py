"""Quick: which queries are answered on the event loop, because they were quick the last time.

To hand a narrow query to a worker and its answer back takes longer than to evaluate it, and others
wait as long either way: a worker keeps the interpreter's lock for 5 ms where the loop wants it.
"""

import threading

QUICK_SECONDS = 0.004
"""A query that took less processor time counts as quick ..."""
SLOW_SECONDS = 0.008
"""... until it takes more than this; in between the caches may just have been cold."""
QUICK_SAMPLES = 20_000
"""A query that turns out to hold more samples or steps goes to a worker after all."""
MAX_CHARACTERS = 1000
MAX_KNOWN = 4096

Kind = tuple[str, str, int, str]
"""(tenant, query, steps, form of the answer): with other times it costs about the same."""


class QuickQueries:
    """Remembers the quick ones; safe from any thread."""

    def __init__(self) -> None:
        self._known: dict[Kind, None] = {}
        self._lock = threading.Lock()

    def knows(self, kind: Kind) -> bool:
        return kind in self._known

    def learn(self, kind: Kind, seconds: float) -> None:
        """What the query cost this time, of its thread's processor time."""
        if seconds > SLOW_SECONDS:
            self.forget(kind)
        elif seconds < QUICK_SECONDS and kind not in self._known and len(kind[1]) <= MAX_CHARACTERS:
            with self._lock:
                if len(self._known) >= MAX_KNOWN:
                    del self._known[next(iter(self._known))]
                self._known[kind] = None

    def forget(self, kind: Kind) -> None:
        with self._lock:
            self._known.pop(kind, None)
