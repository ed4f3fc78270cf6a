"""Known: series that a database has numbered, as a decoder of its writes may see them.

A series that comes again comes with the same bytes, so who compares them need neither judge its
labels again nor look for it.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Numbering:
    """One way in which a database has numbered its series; numbers are only ever added to it."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: Any = None
        """What a reader has found out about the first so many series; each has its own form."""


class Known(NamedTuple):
    """The first ``size`` series of a ``numbering``: columns that a writer may add to meanwhile.

    - ``keys`` uint8: the key of series n is [key_starts[n], key_starts[n + 1]); ``key_starts``
      int64.
    - ``slots`` uint64[m, 4]: the table of their fingerprints under ``seed`` (uint64[4]), see
      ``series/fingerprint_helpers.py``; it may hold numbers from ``size`` on, which mean nothing.
    """

    numbering: Numbering
    size: int
    keys: NDArray[np.uint8]
    key_starts: NDArray[np.int64]
    seed: NDArray[np.uint64]
    slots: NDArray[np.uint64]


class KnownRows(NamedTuple):
    """The ``ids`` (int32[S]) of a batch's rows in a ``numbering``; -1 where one may be new.

    ``are_all`` says whether there is none of those.
    """

    numbering: Numbering
    ids: NDArray[np.int32]
    are_all: bool

    def take(self, keep: NDArray[np.bool_]) -> "KnownRows":
        """The rows of *keep* (bool[S])."""
        ids = self.ids[keep]
        return KnownRows(self.numbering, ids, self.are_all or not (ids < 0).any())


class KnownSamples(NamedTuple):
    """Samples of *known* series as one or more writes bring them, one write after the other.

    ``ids`` int32[N] number their series, ``times_ms`` int64[N], ``bits`` uint64[N] are their
    floats'; ``first_ms`` and ``last_ms`` are the earliest and the latest time, where there is any.
    ``ends``: how many samples the writes up to each have.
    """

    known: Known
    ids: NDArray[np.int32]
    times_ms: NDArray[np.int64]
    bits: NDArray[np.uint64]
    first_ms: int
    last_ms: int
    ends: tuple[int, ...]


NOTHING_KNOWN = Known(
    Numbering(),
    0,
    np.zeros(0, dtype=np.uint8),
    np.zeros(1, dtype=np.int64),
    np.zeros(4, dtype=np.uint64),
    np.zeros((1, 4), dtype=np.uint64),
)
