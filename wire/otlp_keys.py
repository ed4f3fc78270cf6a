"""KeyTable: the keys of series, and of which points they are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]

UNKNOWN = -1
"""As a count of keys: nobody has looked yet."""


class KeyTable:
    """Keys end to end in one arena, numbered; groups of keys that follow each other.

    What is there never changes and never moves within ``arena``: who holds the array may read on
    while others add. Not safe for two who add.
    """

    def __init__(self) -> None:
        self.arena: Bytes = np.zeros(4096, dtype=np.uint8)
        self._ends = np.zeros(64, dtype=np.int64)
        self.count = 0
        self._firsts = np.zeros(64, dtype=np.int64)
        self._counts = np.full(64, UNKNOWN, dtype=np.int64)

    @property
    def size_bytes(self) -> int:
        """Memory in use, about."""
        return int(self._ends[self.count]) + 8 * self.count + 16 * len(self._firsts)

    @property
    def firsts(self) -> Numbers:
        """The first key of each group."""
        return self._firsts

    @property
    def counts(self) -> Numbers:
        """How many keys each group has; UNKNOWN where it was not put yet."""
        return self._counts

    def starts(self, keys: Numbers) -> Numbers:
        """Where the keys of those numbers begin in ``arena``."""
        return self._ends[keys]

    def ends(self, keys: Numbers) -> Numbers:
        """Where they end."""
        return self._ends[keys + 1]

    def key(self, number: int) -> bytes:
        """The bytes of one key."""
        return self.arena[self._ends[number] : self._ends[number + 1]].tobytes()

    def make_room(self, groups: int) -> None:
        """Lets ``counts`` know of the groups below *groups*."""
        more = groups - len(self._counts)
        if more > 0:
            more = max(more, len(self._counts))
            self._counts = np.concatenate([self._counts, np.full(more, UNKNOWN, dtype=np.int64)])
            self._firsts = np.concatenate([self._firsts, np.zeros(more, dtype=np.int64)])

    def put(self, groups: Sequence[int], keys: Sequence[Sequence[bytes]]) -> None:
        """Adds ``keys[k]`` as the group ``groups[k]``, which must have room."""
        counts = np.array([len(of_group) for of_group in keys], dtype=np.int64)
        chosen = np.array(groups, dtype=np.int64)
        first = self.add([key for of_group in keys for key in of_group])
        self._firsts[chosen] = first + np.cumsum(counts) - counts
        self._counts[chosen] = counts

    def add(self, keys: Sequence[bytes]) -> int:
        """Adds *keys* that belong to no group; returns the number of the first."""
        first = self.count
        data = np.frombuffer(b"".join(keys), dtype=np.uint8)
        at = int(self._ends[self.count])
        if at + len(data) > len(self.arena):
            arena = np.zeros(max(at + len(data), 2 * len(self.arena)), dtype=np.uint8)
            arena[:at] = self.arena[:at]
            self.arena = arena
        if self.count + len(keys) >= len(self._ends):
            ends = np.zeros(max(self.count + len(keys) + 1, 2 * len(self._ends)), dtype=np.int64)
            ends[: self.count + 1] = self._ends[: self.count + 1]
            self._ends = ends
        self.arena[at : at + len(data)] = data
        sizes = np.array([len(key) for key in keys], dtype=np.int64)
        self._ends[self.count + 1 : self.count + 1 + len(keys)] = at + np.cumsum(sizes)
        self.count += len(keys)
        return first
