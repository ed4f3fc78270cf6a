"""FrameCache: verified and unpacked frames of blocks, kept by last use, up to a number of bytes.

Where the frames of a block lie stands in one table, so that a read of hundreds finds them without
touching an object for each, which takes longer than decoding them where all have gone cold.
"""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]

ADDRESS, SIZE, LAST_USE = range(3)
"""Columns of places: where a body lies, its bytes (0: it is not there), when it was last used."""

_SURPLUS = 8
"""When there is too much, this part of what may be held goes besides, so that it is seldom."""
_TABLE_BYTES, _ROW_BYTES = 400, 32
"""About what the table of a block takes, and each of its rows."""


def place_of(body: Bytes) -> tuple[int, int]:
    """The first two columns of a place, good for as long as the caller holds *body*."""
    return body.ctypes.data, body.nbytes


class Found(NamedTuple):
    """``places`` int64[n, 3] of frames, good for as long as ``held`` is."""

    places: Int64s
    held: object


class _Table:
    """The frames of a block: row f of ``places`` int64[frames, 3] is that of ``bodies[f]``."""

    __slots__ = ("bodies", "places")

    def __init__(self, frames: int) -> None:
        self.bodies: list[Bytes | None] = [None] * frames
        self.places = np.zeros((frames, 3), dtype=np.int64)

    @property
    def size_bytes(self) -> int:
        return _TABLE_BYTES + _ROW_BYTES * len(self.bodies)


class _Era:
    """The time between two evictions. Who reads holds the era that it began in, and by it all later
    ones: their frames that went stay until nobody is left who might have found them."""

    __slots__ = ("gone", "next")

    def __init__(self) -> None:
        self.gone: list[Bytes] = []
        self.next: _Era | None = None


class FrameCache:
    """See the module's head; for all threads. Blocks are told by a number."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.hits = 0
        """How many of the frames that readers asked for were there, and how many not."""
        self.misses = 0
        self._bytes = 0
        self._uses = 0
        self._lock = threading.Lock()
        self._tables: dict[int, _Table] = {}
        self._era = _Era()

    @property
    def size_bytes(self) -> int:
        """The size of all that is held."""
        return self._bytes

    def find(self, block: int, frames: Int64s) -> Found:
        """Where those of *frames* (int64[n]) lie that are there."""
        with self._lock:
            table = self._tables.get(block)
            if table is None:
                self.misses += len(frames)
                return Found(np.zeros((len(frames), 3), dtype=np.int64), self._era)
            self._uses += 1
            places = table.places.take(frames, axis=0)
            table.places[frames, LAST_USE] = self._uses
            there = int(np.count_nonzero(places[:, SIZE]))
            self.hits += there
            self.misses += len(frames) - there
            return Found(places, self._era)

    def put(self, block: int, frame_count: int, frame: int, body: Bytes) -> None:
        """Holds the *body* of a frame of *block*, which has *frame_count*."""
        with self._lock:
            table = self._tables.get(block)
            if table is None:
                table = self._tables[block] = _Table(frame_count)
                self._bytes += table.size_bytes
            before = table.bodies[frame]
            if before is not None:  # another thread was faster
                return
            self._uses += 1
            table.bodies[frame] = body
            table.places[frame] = *place_of(body), self._uses
            self._bytes += body.nbytes
            if self._bytes > self.max_bytes:
                self._evict(self._bytes - self.max_bytes + self.max_bytes // _SURPLUS)

    def clear(self) -> None:
        with self._lock:
            if self._tables:
                self._evict(self._bytes)

    def _evict(self, surplus: int) -> None:
        """Lets go of the frames that were used longest ago, of *surplus* bytes or all there are,
        and of the tables that have none left."""
        places = np.concatenate([table.places for table in self._tables.values()])
        filled = np.flatnonzero(places[:, SIZE])
        oldest = filled[np.argsort(places[filled, LAST_USE], kind="stable")]
        freed = np.cumsum(places[oldest, SIZE])
        gone = np.sort(oldest[: int(np.searchsorted(freed, surplus)) + 1])
        era, self._era = self._era, _Era()
        era.next = self._era
        first = 0
        for block, table in list(self._tables.items()):
            end = first + len(table.bodies)
            own = gone[np.searchsorted(gone, first) : np.searchsorted(gone, end)] - first
            self._bytes -= int(table.places[own, SIZE].sum())
            table.places[own, SIZE] = 0
            for frame in own.tolist():
                body, table.bodies[frame] = table.bodies[frame], None
                if body is not None:
                    era.gone.append(body)
            if not table.places[:, SIZE].any():
                self._bytes -= self._tables.pop(block).size_bytes
            first = end
