"""Arena: the memory of all heads of a process, in pages of 64 samples.

Values and times have pages of their own, so that series that were scraped together share the
pages of their times. A page is a row of a large array that the operating system backs only where
it was touched; pages never move. Heads take page numbers in handfuls and give them back; what
stands in a page is their business. The entries of samples that need more than 64 bits and what is
known of series are kept by the heads; the arena counts them.
"""

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from tsdb.memory import memory_bytes

PAGE_SAMPLES = 64
PAGE_BYTES = PAGE_SAMPLES * 8

# Columns of ``pages``, one row a value page.
PAGE_TIMES, PAGE_FILL, PAGE_NEXT = range(3)
# Columns of ``ticks``, one row a time page.
TICK_FILL, TICK_REFS, TICK_NEXT, TICK_HOME, TICK_HOME_AT, TICK_ROOT, TICK_OWNER = range(7)

Pages = NDArray[np.int32]


class HeadFull(OSError):
    """The memory for samples that are not sealed yet is used up; a seal frees some."""

    def __init__(self) -> None:
        super().__init__("head is full: no memory left for new samples until some are sealed")


class Arena:
    """Value pages and time pages of a process; any thread may take and give back.

    - ``values``: uint64[P, 64], the bits of the samples.
    - ``times``: int64[P, 64], milliseconds, strictly rising within a page.
    - ``pages``: int32[P, 4] about value pages: their time page, how many samples they hold and
      the next page of the series (both once the page is closed).
    - ``ticks``: int32[P, 8] about time pages, see ``tsdb/head/kernels.py``.
    """

    def __init__(
        self, capacity_pages: int | None = None, pool_capacity_bytes: int | None = None
    ) -> None:
        """Room for *capacity_pages* of each kind; by default a quarter of the memory for each.

        Takes less where the operating system refuses that much address space. The pools of all
        heads may take *pool_capacity_bytes*, by default an eighth of the memory, and what they know
        of their series a quarter.
        """
        pages = capacity_pages or max(4096, memory_bytes() // 4 // PAGE_BYTES)
        while not self._allocate(pages):
            pages //= 2
        self._lock = threading.Lock()
        self._value_pages = _FreePages(pages)
        self._time_pages = _FreePages(pages)
        self._owners = 0
        self.pool_capacity_bytes = pool_capacity_bytes or memory_bytes() // 8
        self.pool_bytes = 0
        self.table_capacity_bytes = memory_bytes() // 4
        self.table_bytes = 0

    def _allocate(self, pages: int) -> bool:
        try:
            self.values = np.empty((pages, PAGE_SAMPLES), dtype=np.uint64)
            self.times = np.empty((pages, PAGE_SAMPLES), dtype=np.int64)
            self.pages = np.empty((pages, 4), dtype=np.int32)
            # Zeroed on first touch: a page nobody ever took belongs to owner 0, who does not exist.
            self.ticks = np.zeros((pages, 8), dtype=np.int32)
        except MemoryError:
            if pages <= 64:
                raise
            return False
        return True

    @property
    def capacity_pages(self) -> int:
        return len(self.values)

    @property
    def used_share(self) -> float:
        """How much is taken of the kind of pages, or of the room for pools, that is fullest."""
        used = max(self._value_pages.taken, self._time_pages.taken)
        return max(used / self.capacity_pages, self.pool_bytes / self.pool_capacity_bytes)

    def count_pool_bytes(self, more: int) -> None:
        """Notes that a head's pool has grown by *more* bytes, or shrunk."""
        with self._lock:
            self.pool_bytes += more

    def count_table_bytes(self, more: int) -> None:
        """Notes that what a head knows of its series has grown by *more* bytes, or shrunk."""
        with self._lock:
            self.table_bytes += more

    @property
    def table_share(self) -> float:
        """How much of the memory for what is known of series is taken."""
        return self.table_bytes / self.table_capacity_bytes

    def new_owner(self) -> int:
        """A number (from 1) by which a head tells its time pages from those of others."""
        with self._lock:
            self._owners += 1
            return self._owners

    def take_value_pages(self, count: int) -> Pages:
        """*count* free value pages; HeadFull where so many are not left."""
        with self._lock:
            return self._value_pages.take(count)

    def take_time_pages(self, count: int) -> Pages:
        """*count* free time pages; HeadFull where so many are not left."""
        with self._lock:
            return self._time_pages.take(count)

    def give_back(self, value_pages: Pages, time_pages: Pages) -> None:
        """Frees pages; takes no lock, so that a finalizer may call it at any moment."""
        self._value_pages.returned.append(value_pages)
        self._time_pages.returned.append(time_pages)


class _FreePages:
    """The free pages of one kind: those never taken, and a stack of those given back."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._fresh = 0
        self._stack: list[Pages] = []
        self._stacked = 0
        self.returned: deque[Pages] = deque()

    @property
    def taken(self) -> int:
        # A list: garbage may be collected while a tuple is being made, which may return pages.
        returned = list(self.returned)
        return self._fresh - self._stacked - sum(map(len, returned))

    def take(self, count: int) -> Pages:
        while self.returned:
            pages = self.returned.popleft()
            self._stack.append(pages)
            self._stacked += len(pages)
        if count > self._stacked + self._capacity - self._fresh:
            raise HeadFull
        taken: list[Pages] = []
        while count and self._stack:
            pages = self._stack.pop()
            if len(pages) > count:
                self._stack.append(pages[count:])
                pages = pages[:count]
            taken.append(pages)
            self._stacked -= len(pages)
            count -= len(pages)
        taken.append(np.arange(self._fresh, self._fresh + count, dtype=np.int32))
        self._fresh += count
        return np.concatenate(taken)


class Epoch:
    """Keeps the pages that a seal dropped from being used again while a reader may see them.

    Every reader holds the epoch it began in, and every epoch holds the one after it. So an epoch
    goes away once its readers and all earlier ones have gone; only then are the pages that were
    dropped at its end free.
    """

    __slots__ = ("_arena", "_dropped", "_next")

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._dropped: list[tuple[Pages, Pages]] = []
        self._next: Epoch | None = None

    def end(self, value_pages: Pages, time_pages: Pages) -> "Epoch":
        """Begins the next epoch, from which on the given pages are out of sight."""
        self._dropped.append((value_pages, time_pages))
        self._next = Epoch(self._arena)
        return self._next

    def __del__(self) -> None:
        for value_pages, time_pages in self._dropped:
            self._arena.give_back(value_pages, time_pages)
