"""Interner: numbers for texts, so that what was seen before costs no Python."""

import secrets
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from wire import otlp_intern_kernels as kernels

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
T = TypeVar("T", bound=np.generic)

_FIRST_SLOTS = 64


class Interner:
    """Gives (bytes, parent) pairs the ids 0, 1, 2 ... in the order of their first sight.

    Found as what followed the one before it the last time, otherwise by a hash under a secret seed;
    compared byte by byte. Not safe for threads.
    """

    def __init__(self) -> None:
        self._seed = np.frombuffer(secrets.token_bytes(16), dtype=np.uint64).copy()
        self._slots = np.zeros(_FIRST_SLOTS, dtype=np.int64)
        self._hashes = np.zeros(_FIRST_SLOTS // 2, dtype=np.uint64)
        self._parents = np.zeros(_FIRST_SLOTS // 2, dtype=np.int64)
        self._ends = np.zeros(_FIRST_SLOTS // 2 + 1, dtype=np.int64)
        self._followers = np.zeros(_FIRST_SLOTS // 2 + 1, dtype=np.int64)
        self._arena = np.zeros(1024, dtype=np.uint8)
        self._used = 0
        self.count = 0

    @property
    def size_bytes(self) -> int:
        """Memory in use, about."""
        return self._used + 56 * self.count

    def ids(self, data: Bytes, starts: Numbers, ends: Numbers, parents: Numbers) -> Numbers:
        """int64[n]: the id of every span of *data* below its parent; -1 below a negative one."""
        found = np.empty(len(starts), dtype=np.int64)
        while True:
            self.count, lacking, lacking_bytes, self._used = kernels.intern(
                data, starts, ends, parents, self._seed, self._slots, self._hashes,
                self._parents, self._ends, self._followers, self._arena, self.count, found,
            )  # fmt: skip
            if not lacking:
                return found
            self._grow(lacking, lacking_bytes)

    def text(self, one: int) -> bytes:
        """The bytes of an id."""
        return self._arena[self._ends[one] : self._ends[one + 1]].tobytes()

    def parent(self, one: int) -> int:
        """The parent of an id."""
        return int(self._parents[one])

    def _grow(self, entries: int, size_bytes: int) -> None:
        """Makes room for more, at least doubling what is too small."""
        if self.count + entries > len(self._hashes):
            room = max(self.count + entries, 2 * len(self._hashes))
            self._hashes = _longer(self._hashes, room)
            self._parents = _longer(self._parents, room)
            self._ends = _longer(self._ends, room + 1)
            self._followers = _longer(self._followers, room + 1)
            self._slots = np.zeros(1 << (2 * room - 1).bit_length(), dtype=np.int64)
            kernels.index(self._hashes, self.count, self._slots)
        if self._used + size_bytes > len(self._arena):
            room = max(self._used + size_bytes, 2 * len(self._arena))
            self._arena = _longer(self._arena, room)


def _longer(array: NDArray[T], length: int) -> NDArray[T]:
    out = np.zeros(length, dtype=array.dtype)
    out[: len(array)] = array
    return out
