"""Committer: the few threads that sync and apply the writes of all tenants.

There is no timer: a tenant's next round begins as soon as its last one has ended and takes
everybody who waits. At most one thread works on a tenant.
"""

import threading
from collections import deque
from typing import Protocol

MAX_THREADS = 4


class Committable(Protocol):
    """Somebody whose waiting writes a committer thread carries out."""

    @property
    def has_waiting(self) -> bool: ...

    def commit_waiting(self) -> None:
        """Carries out some or all of what waits; raises nothing."""
        ...


class Committer:
    """A pool of at most four threads, which start when they are needed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: deque[Committable] = deque()
        self._busy: set[Committable] = set()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closing = False

    def wake(self, tenant: Committable) -> None:
        """Sees to it that a round of *tenant* begins after this call; not after ``close``."""
        with self._changed:
            if tenant in self._busy:
                return
            self._busy.add(tenant)
            self._due.append(tenant)
            if self._idle < len(self._due) and len(self._threads) < MAX_THREADS:
                name = f"committer-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Returns when all that waits is done and the threads have ended."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (tenant := self._next()) is not None:
            tenant.commit_waiting()
            with self._changed:
                if tenant.has_waiting:
                    self._due.append(tenant)
                else:
                    self._busy.discard(tenant)

    def _next(self) -> Committable | None:
        with self._changed:
            self._idle += 1
            while not self._due and not self._closing:
                self._changed.wait()
            self._idle -= 1
            return self._due.popleft() if self._due else None
