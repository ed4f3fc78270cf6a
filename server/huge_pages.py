"""Huge pages: the memory that the process works in, put together to pages of 2 MiB.

A query touches some 2,500 pages of 4 KiB that hold objects of the interpreter and its own arrays.
Once others have used the caches, each costs a walk through page tables, on a virtual machine
through two of them, and all together cost more than what is done there. In huge pages they are
some dozens.
"""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
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
_NONE: NDArray[np.int64] = np.empty(0, dtype=np.int64)


@dataclass(slots=True)
class HugePages:
    """Looks after the memory of this process; ``size_bytes`` is what surely is in huge pages.

    Of neighbours that are put together at once none counts where one of them could not be.
    """

    size_bytes: int = 0
    _full: NDArray[np.int64] = field(default_factory=lambda: _NONE)

    def collapse(self) -> None:
        """Has the system put together what lies in small pages, and did when it looked last.

        Putting together costs 1 to 2 ms a huge page: too much for memory that an ingest fills and
        gives back. To look at what is huge already costs next to nothing. Linux can do it from 6.1
        on; where a system can not, or has no page left, all stays as it is.
        """
        library = ctypes.CDLL(None)
        full = np.concatenate([_NONE, *(_full(library, *stretch) for stretch in _stretches())])
        lasting = np.intersect1d(full, self._full, assume_unique=True)
        self._full = full
        self.size_bytes = sum(
            length for at, length in _runs(lasting) if _put_together(library, at, length)
        )


def _stretches() -> Iterator[tuple[int, int]]:
    """(start, end) of what huge pages could hold: private memory that is written and of no file."""
    for start, end, access, name in mappings():
        if access == "rw-p" and name in ("", "[heap]"):
            first, stop = -(-start // HUGE_BYTES) * HUGE_BYTES, end // HUGE_BYTES * HUGE_BYTES
            if first < stop:
                yield first, stop


def _full(library: ctypes.CDLL, start: int, end: int) -> NDArray[np.int64]:
    """int64[n]: the addresses of what is to be a huge page and has its small ones in memory."""
    pages = np.zeros(((end - start) // HUGE_BYTES, _PAGES), dtype=np.uint8)
    library.mincore(
        ctypes.c_void_p(start), ctypes.c_size_t(end - start), pages.ctypes.data_as(ctypes.c_void_p)
    )
    counts = np.count_nonzero(pages & 1, axis=1)
    addresses: NDArray[np.int64] = start + HUGE_BYTES * np.flatnonzero(counts >= _RESIDENT)
    return addresses


def _runs(addresses: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(address, length in bytes) of every run of huge pages that are neighbours."""
    cuts = np.flatnonzero(np.diff(addresses) != HUGE_BYTES) + 1
    for run in np.split(addresses, cuts):
        if len(run):
            yield int(run[0]), len(run) * HUGE_BYTES


def _put_together(library: ctypes.CDLL, at: int, length: int) -> bool:
    """Whether *length* bytes from address *at* are in huge pages now."""
    refused: int = library.madvise(ctypes.c_void_p(at), ctypes.c_size_t(length), _MADV_COLLAPSE)
    return not refused
