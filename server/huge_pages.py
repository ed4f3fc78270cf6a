"""Huge pages: the memory that the process works in, put together to pages of 2 MiB.

A query touches some 2,500 pages of 4 KiB that hold objects of the interpreter and its own arrays.
Once others have used the caches, each costs a walk through page tables, on a virtual machine
through two of them, and all together cost more than what is done there. In huge pages they are
some dozens.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import PAGESIZE

import numpy as np
from numpy.typing import NDArray

from server.process_memory import mappings

PERIOD_SECONDS = 10.0
"""Memory that has come in the meantime is put together so often."""
HUGE_BYTES = 2 << 20
_PAGES = HUGE_BYTES // PAGESIZE
_RESIDENT = _PAGES * 15 // 16
"""So many pages of a huge one must be in memory already; the others are what it costs."""
_MADV_COLLAPSE = 25


@dataclass(slots=True)
class HugePages:
    """Looks after the memory of this process; ``size_bytes`` is what surely is in huge pages.

    Of neighbours that are put together at once none counts where one of them could not be.
    """

    size_bytes: int = 0

    def collapse(self) -> None:
        """Has the system put together what lies in small pages.

        To look at what is huge already costs next to nothing. Linux can do it from 6.1 on; where a
        system can not, or has no page left, all stays as it is.
        """
        library = ctypes.CDLL(None)
        size_bytes = 0
        for start, end in _stretches():
            for first, stop in _runs(_resident(library, start, end) >= _RESIDENT):
                at, length = start + first * HUGE_BYTES, (stop - first) * HUGE_BYTES
                done = library.madvise(ctypes.c_void_p(at), ctypes.c_size_t(length), _MADV_COLLAPSE)
                size_bytes += 0 if done else length
        self.size_bytes = size_bytes


def _stretches() -> Iterator[tuple[int, int]]:
    """(start, end) of what huge pages could hold: private memory that is written and of no file."""
    for start, end, access, name in mappings():
        if access == "rw-p" and name in ("", "[heap]"):
            first, stop = -(-start // HUGE_BYTES) * HUGE_BYTES, end // HUGE_BYTES * HUGE_BYTES
            if first < stop:
                yield first, stop


def _resident(library: ctypes.CDLL, start: int, end: int) -> NDArray[np.int64]:
    """int64[huge pages]: how many small pages of each are in memory; 0 where all are gone."""
    pages = np.zeros(((end - start) // HUGE_BYTES, _PAGES), dtype=np.uint8)
    library.mincore(
        ctypes.c_void_p(start), ctypes.c_size_t(end - start), pages.ctypes.data_as(ctypes.c_void_p)
    )
    counts: NDArray[np.int64] = np.count_nonzero(pages & 1, axis=1)
    return counts


def _runs(wanted: NDArray[np.bool_]) -> list[list[int]]:
    """[first, behind the last] of every run of true ones."""
    changes = np.diff(wanted, prepend=False, append=False)
    runs: list[list[int]] = np.flatnonzero(changes).reshape(-1, 2).tolist()
    return runs
