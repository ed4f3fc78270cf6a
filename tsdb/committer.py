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
from queue import Empty, SimpleQueue
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
        self._lock = threading.Lock()
        self._due: SimpleQueue[Committable | None] = SimpleQueue()
        """Whose turn it is; None has a thread look whether a sync is due, or all is done."""
        self._busy: set[Committable] = set()
        """The tenants that are due or worked on."""
        self._later: list[tuple[float, int, Committable]] = []
        self._listed: set[Committable] = set()
        """The tenants in ``_later``, which is a heap."""
        self._numbers = itertools.count()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        """The threads for which nothing is due."""
        self._behind = 0
        """How many are due for which there is no thread."""
        self._closing = False

    def wake(self, tenant: Committable) -> None:
        """Sees to it that a round of *tenant* begins after this call; not after ``close``."""
        with self._lock:
            if tenant not in self._busy:
                self._give_turn(tenant)

    def close(self) -> None:
        """Returns when all that waits is done and the threads have ended; no sync is waited for."""
        with self._lock:
            self._closing = True
            self._due.put(None)
        for thread in self._threads:
            thread.join()

    def _give_turn(self, tenant: Committable) -> None:
        self._busy.add(tenant)
        self._due.put(tenant)
        if self._idle:
            self._idle -= 1
        elif len(self._threads) < MAX_THREADS:
            name = f"committer-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        else:
            self._behind += 1

    def _work(self) -> None:
        while (tenant := self._next()) is not None:
            tenant.commit_waiting()
            with self._lock:
                if tenant.has_waiting:
                    self._due.put(tenant)
                else:
                    self._end_turn(tenant)

    def _end_turn(self, tenant: Committable) -> None:
        self._busy.discard(tenant)
        if self._behind:
            self._behind -= 1
        else:
            self._idle += 1
        due_seconds = tenant.sync_due_seconds
        if due_seconds < math.inf and tenant not in self._listed:
            self._listed.add(tenant)
            heapq.heappush(self._later, (due_seconds, next(self._numbers), tenant))
        if self._closing:
            self._due.put(None)

    def _next(self) -> Committable | None:
        """Whose turn it is; None where the thread has to end."""
        while True:
            try:
                tenant = self._due.get(timeout=self._seconds_to_next())
            except Empty:
                tenant = None
            if tenant is not None:
                if self._later:
                    self._due.put(None)  # another thread waits for the sync while this one is busy
                return tenant
            with self._lock:
                self._take_listed()
                if self._closing and not self._busy:
                    self._due.put(None)
                    return None

    def _seconds_to_next(self) -> float | None:
        """How long until the next sync is due; None where none is."""
        if not self._later:
            return None
        with self._lock:
            return max(0.0, self._later[0][0] - time.monotonic()) if self._later else None

    def _take_listed(self) -> None:
        """Gives their turn to the tenants whose sync is due; who is busy sees to it himself."""
        while self._later and self._later[0][0] <= time.monotonic():
            tenant = heapq.heappop(self._later)[2]
            self._listed.discard(tenant)
            if tenant not in self._busy:
                self._give_turn(tenant)
