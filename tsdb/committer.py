"""Committer: the few threads that log, sync and apply the writes of all tenants.

A tenant's next round begins as soon as its last one has ended and takes everybody who waits. At
most one thread works on a tenant. Where the log is synced later than it is written, a tenant gets
its turn again when its sync is due.
"""

import heapq
import itertools
import math
import threading
import time
from collections import deque
from typing import Protocol

MAX_THREADS = 4


class Committable(Protocol):
    """Somebody whose waiting writes a committer thread carries out."""

    @property
    def has_waiting(self) -> bool: ...

    @property
    def sync_due_seconds(self) -> float:
        """When it wants another turn, by ``time.monotonic``; infinite where it does not."""
        ...

    def commit_waiting(self) -> None:
        """Carries out some or all of what waits or is due; raises nothing."""
        ...


class Committer:
    """A pool of at most four threads, which start when they are needed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: deque[Committable] = deque()
        self._busy: set[Committable] = set()
        self._later: list[tuple[float, int, Committable]] = []
        self._listed: set[Committable] = set()
        """The tenants in ``_later``, which is a heap."""
        self._numbers = itertools.count()
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
        """Returns when all that waits is done and the threads have ended; no sync is waited for."""
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
                    self._list_sync(tenant)

    def _list_sync(self, tenant: Committable) -> None:
        due_seconds = tenant.sync_due_seconds
        if due_seconds < math.inf and tenant not in self._listed:
            self._listed.add(tenant)
            heapq.heappush(self._later, (due_seconds, next(self._numbers), tenant))
            self._changed.notify()  # whoever idles waits for it, should this thread be busy then

    def _next(self) -> Committable | None:
        with self._changed:
            self._idle += 1
            self._take_listed()
            while not self._due and not self._closing:
                self._changed.wait(self._seconds_to_next())
                self._take_listed()
            self._idle -= 1
            return self._due.popleft() if self._due else None

    def _seconds_to_next(self) -> float | None:
        """How long until the next sync is due; None where none is."""
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def _take_listed(self) -> None:
        """Gives their turn to the tenants whose sync is due; who is busy sees to it himself."""
        while self._later and self._later[0][0] <= time.monotonic():
            tenant = heapq.heappop(self._later)[2]
            self._listed.discard(tenant)
            if tenant not in self._busy:
                self._busy.add(tenant)
                self._due.append(tenant)
